"""The common contract of models, for every entry of the table; what a single model promises beyond it is tested elsewhere."""

from collections.abc import Iterable
from typing import Any

import pytest
from together import MITIGATIONS, asked, why_not

from suite.models import MODELS, resolve
from suite.models.attentions import PAIR_BIASES
from suite.models.node_encodings import resolve_encoding
from suite.models.rewirings import REWIRINGS, resolve_rewiring
from suite.testing import MODEL_CHECKS, REWIRED_CHECKS, Made, check_model

# Settings that change what a model declares, beside the table's own.
VARIANTS = {
    "gcn without norm": ("gcn", {"norm": "none"}),
    "gcn with layer norm": ("gcn", {"norm": "layer"}),
    "gcn with data norm": ("gcn", {"norm": "data"}),
    "gcn that reads x": ("gcn", {"encoder": "none", "decoder": "none"}),
    "gcn with DropEdge and dropout": ("gcn", {"drop_edge": 0.5, "dropout": 0.5}),
    "transformer with batch norm": ("set_transformer", {"norm": "batch"}),
}


def going_together(factor: str, values: Iterable[str]) -> list[tuple[str, str]]:
    pairs = [(name, value) for name in MODELS for value in values if value != "none"]
    return [(name, value) for name, value in pairs if why_not(("model", name), (factor, value)) is None]


@pytest.mark.parametrize("check", MODEL_CHECKS)
@pytest.mark.parametrize("name", MODELS)
def test_every_model_keeps_the_contract(name: str, check: str) -> None:
    assert not list(MODEL_CHECKS[check](Made(resolve(name))))


@pytest.mark.parametrize("variant", VARIANTS)
def test_settings_keep_the_contract_too(variant: str) -> None:
    name, settings = VARIANTS[variant]
    check_model(resolve(name, settings))


@pytest.mark.parametrize(("name", "mitigation"), going_together("mitigation", MITIGATIONS))
def test_models_keep_the_contract_with_every_mitigation_that_they_take(name: str, mitigation: str) -> None:
    check_model(resolve(name, MITIGATIONS[mitigation]))


@pytest.mark.parametrize(("name", "encoding"), going_together("encoding", PAIR_BIASES))
def test_models_keep_the_contract_with_every_encoding_of_pairs_that_they_take(name: str, encoding: str) -> None:
    check_model(resolve(name, {"pair_bias": encoding}))


@pytest.mark.parametrize(("name", "rewiring"), going_together("rewiring", REWIRINGS))
def test_models_keep_the_contract_on_every_rewired_graph_that_they_take(name: str, rewiring: str) -> None:
    made = Made(resolve(name), rewiring=resolve_rewiring(*asked(rewiring)))
    assert not [fault for check in REWIRED_CHECKS for fault in MODEL_CHECKS[check](made)]


def test_a_model_and_its_factors_are_checked_at_once() -> None:
    check_model("gat", resolve_encoding("sign_net", {"width": 2}), resolve_rewiring("virtual_node"))


@pytest.mark.parametrize("name", sorted(set(MODELS) - {"constant"}))  # which reads no x
def test_models_keep_the_contract_behind_an_encoding_with_weights(name: str) -> None:
    check_model(name, resolve_encoding("sign_net", {"width": 2}))


@pytest.mark.parametrize("check", ["equivariance", "batching", "gradients", "saving", "determinism"])
@pytest.mark.parametrize(
    ("control", "settings"), [("SetReader", {"pool": "attention"}), ("SetReader", {"pool": "mean"}), ("ListReader", {"steps": 5})]
)
def test_the_controls_of_the_certificates_keep_it_as_far_as_one_layer_can(control: str, settings: Any, check: str) -> None:
    assert not list(MODEL_CHECKS[check](Made(resolve(f"suite.controls:{control}", settings))))
