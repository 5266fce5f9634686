"""The common contract of models, for every entry of the table; what a single model promises beyond it is tested elsewhere."""

import pytest

from suite.models import MODELS, resolve
from suite.testing import MODEL_CHECKS, check_model

# Settings that change what a model declares, beside the table's own.
VARIANTS = {
    "gcn without norm": ("gcn", {"norm": "none"}),
    "gcn with layer norm": ("gcn", {"norm": "layer"}),
    "gcn with data norm": ("gcn", {"norm": "data"}),
    "gcn that reads x": ("gcn", {"encoder": "none", "decoder": "none"}),
    "gcn with DropEdge and dropout": ("gcn", {"drop_edge": 0.5, "dropout": 0.5}),
    "transformer with batch norm": ("set_transformer", {"norm": "batch"}),
}


@pytest.mark.parametrize("check", MODEL_CHECKS)
@pytest.mark.parametrize("name", MODELS)
def test_every_model_keeps_the_contract(name: str, check: str) -> None:
    assert not list(MODEL_CHECKS[check](resolve(name)))


@pytest.mark.parametrize("variant", VARIANTS)
def test_settings_keep_the_contract_too(variant: str) -> None:
    name, settings = VARIANTS[variant]
    check_model(resolve(name, settings))


@pytest.mark.parametrize("check", ["equivariance", "batching", "gradients", "saving", "determinism"])
@pytest.mark.parametrize("pool", ["attention", "mean"])
def test_the_controls_of_the_certificates_keep_it_as_far_as_one_layer_can(pool: str, check: str) -> None:
    assert not list(MODEL_CHECKS[check](resolve("suite.controls:SetReader", {"pool": pool})))
