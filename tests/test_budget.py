"""Equal budgets: widths are found, not guessed, and counts are those of the models that are trained."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from suite.budget import TOLERANCE, Sizes, num_parameters, sized
from suite.models import MODELS, build, resolve

PAGE = Path(__file__).parents[1] / "docs" / "equal-terms.md"
SIZES = Sizes(in_channels=7, num_layers=3, out_channels=5)

TOO_COARSE = {("grit", 8, 5_000)}  # eight layers of four heads, whose pairs have weights too: of 1 channel a head or of 2


@pytest.mark.parametrize("name", MODELS)
def test_counted_without_memory_are_the_parameters_of_the_model_that_is_built(name: str) -> None:
    built = build(resolve(name), SIZES.in_channels, 16, SIZES.num_layers, SIZES.out_channels)
    assert num_parameters(resolve(name), 16, SIZES) == sum(p.numel() for p in built.parameters())


@pytest.mark.parametrize("parameters", [5_000, 20_000])
@pytest.mark.parametrize("num_layers", [2, 8])
@pytest.mark.parametrize("name", MODELS)
def test_every_model_with_a_width_keeps_to_the_budget(name: str, num_layers: int, parameters: int) -> None:
    sizes = SIZES._replace(num_layers=num_layers)
    if (name, num_layers, parameters) in TOO_COARSE:
        with pytest.raises(ValueError, match="no width comes within"):
            sized(resolve(name), parameters, sizes)
        return
    found = sized(resolve(name), parameters, sizes)
    assert found.num_parameters == num_parameters(found.model, found.hidden_channels, sizes)
    assert abs(found.num_parameters - parameters) <= TOLERANCE * parameters or not found.has_width


@pytest.mark.parametrize("parameters", [300, 1_000, 1_234, 20_000])
def test_the_width_is_the_nearest_of_all(parameters: int) -> None:
    ref = resolve("gcn", {"norm": "none", "encoder": "linear"})

    def count(width: int) -> int:
        return (7 * width + width) + (width * width + width) * 3 + (width * 5 + 5)

    nearest = min(range(1, 200), key=lambda width: abs(count(width) - parameters))
    if abs(count(nearest) - parameters) > TOLERANCE * parameters:
        with pytest.raises(ValueError, match=f"no width comes within 5% of {parameters:,}"):
            sized(ref, parameters, SIZES)
    else:
        found = sized(ref, parameters, SIZES)
        assert (found.hidden_channels, found.num_parameters) == (nearest, count(nearest))


@pytest.mark.parametrize("name", ["gat", "gps", "set_transformer"])
def test_heads_share_the_width_equally_and_inner_widths_make_up_the_rest(name: str) -> None:
    found = sized(resolve(name), 20_000, SIZES)
    assert found.hidden_channels % 4 == 0
    assert found.num_parameters == pytest.approx(20_000, rel=0.01)


def test_a_written_out_inner_width_is_the_same_transformer() -> None:
    models = []
    for inner in (None, 32):
        torch.manual_seed(0)
        models.append(build(resolve("gps", {"mlp_channels": inner}), 7, 16, 2, 5))
    one, other = (model.state_dict() for model in models)
    assert all(torch.equal(one[key], other[key]) for key in one | other)


def test_an_inner_width_that_was_asked_for_stays() -> None:
    found = sized(resolve("set_transformer", {"mlp_channels": 10}), 20_000, SIZES)
    assert found.model.settings["mlp_channels"] == 10


def test_the_models_without_a_width_are_those_that_the_page_names() -> None:
    widthless = {name for name in MODELS if not sized(resolve(name), 20_000, SIZES).has_width}
    assert widthless == {"sgc", "propagation", "constant"}
    said = PAGE.read_text(encoding="utf-8").partition("Models without a width")[2].partition("exempt")[0]
    assert set(re.findall("`([a-z_]+)`", said)) == widthless


@pytest.mark.parametrize(("name", "parameters"), [("sgc", 7 * 5 + 5), ("propagation", 7 * 5 + 5), ("constant", 5)])
def test_a_model_without_a_width_is_exempt(name: str, parameters: int) -> None:
    found = sized(resolve(name), 20_000, SIZES)
    assert not found.has_width
    assert found.num_parameters == parameters


def test_counting_draws_no_random_numbers() -> None:
    before = torch.get_rng_state()
    sized(resolve("sage"), 7_777, SIZES)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_strangers_class_is_taken_at_widths_that_it_does_not_refuse(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        """
import torch
from torch import nn

class Thirds(nn.Module):
    def __init__(self, in_channels, hidden_channels, num_layers, out_channels):
        super().__init__()
        assert hidden_channels % 3 == 0
        self.one, self.two = nn.Linear(in_channels, hidden_channels), nn.Linear(hidden_channels, out_channels)
        self.scale = float(self.one.weight.abs().max())  # looks at numbers, which a model without memory does not have
"""
    )
    found = sized(resolve(f"{tmp_path}/mine.py:Thirds"), 1_000, SIZES)
    assert found.hidden_channels % 3 == 0
    assert found.num_parameters == (7 + 1) * found.hidden_channels + (found.hidden_channels + 1) * 5
    assert abs(found.num_parameters - 1_000) <= 3 * 13 / 2


def test_a_class_that_refuses_every_width_is_named_with_its_reason(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "from torch import nn\nclass Never(nn.Module):\n    def __init__(self, a, b, c, d):\n        raise KeyError('no')\n"
    )
    with pytest.raises(ValueError, match="no width up to 128 is accepted: KeyError: 'no'"):
        sized(resolve(f"{tmp_path}/mine.py:Never"), 1_000, SIZES)


def test_a_model_that_reads_no_inner_width_is_sized_by_its_width_alone() -> None:
    ref = resolve("gcn", {"encoder": "linear"})
    found = sized(ref, 1000, SIZES)  # steps between widths are coarse here
    assert found.model == ref
    assert abs(found.gap(1000)) < 0.05
