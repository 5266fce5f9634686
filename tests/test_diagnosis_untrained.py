"""The model before training: fresh weights without touching the model, and refused where they cannot be drawn."""

from __future__ import annotations

import copy

import pytest
import torch
from test_diagnosis import Means, Still, global_state, ring, state
from torch import Tensor, nn
from torch_geometric.nn import GCN, GCNConv

import suite
from suite.diagnosis.untrained import NotKnownError, untrained
from suite.models import build, resolve


class Owning(nn.Module):
    """Has a parameter that nothing draws again."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.scale = GCNConv(3, 2), nn.Parameter(torch.ones(2))

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        return self.conv(x, edge_index) * self.scale


def grown(model: nn.Module) -> nn.Module:
    """The same, as if training had made all weights larger and moved the statistics of norms."""
    for tensor in (*model.parameters(), *(b for b in model.buffers() if b.is_floating_point())):
        tensor.data.mul_(50).add_(3)
    return model


def test_weights_are_drawn_as_the_class_draws_them_and_the_model_stays() -> None:
    model = grown(GCN(3, 16, 3, 2, norm="batch_norm"))
    before, world = copy.deepcopy(state(model)), global_state()
    fresh, again, other = (untrained(model, seed) for seed in (0, 0, 1))
    assert fresh is not None
    assert again is not None
    assert other is not None
    assert global_state() == world
    torch.testing.assert_close(state(model), before, rtol=0, atol=0)
    for name, value in fresh.named_parameters():
        assert torch.equal(value, again.get_parameter(name))
        assert float(value.detach().abs().max()) <= 1  # Glorot's bound sqrt(6 / (in + out)) and norms' ones
    assert not torch.equal(fresh.convs[0].lin.weight, other.convs[0].lin.weight)
    assert torch.equal(fresh.norms[0].module.running_mean, torch.zeros(16))
    assert torch.equal(fresh.norms[0].module.running_var, torch.ones(16))


@pytest.mark.parametrize("name", ["gcn", "gps", "gcn_initial", "adgn", "graphormer"])
def test_a_model_of_the_suite_is_made_again(name: str) -> None:
    model = grown(build(resolve(name), 7, 8, 2, 5))
    fresh = untrained(copy.deepcopy(model), 0)
    assert type(fresh) is type(model)
    shapes = [{key: value.shape for key, value in each.state_dict().items()} for each in (fresh, model)]  # type: ignore[union-attr]
    assert shapes[0] == shapes[1]
    assert all(float(p.detach().abs().max()) < 3 for p in fresh.parameters())  # type: ignore[union-attr]


def test_what_no_reset_reaches_is_named() -> None:
    with pytest.raises(NotKnownError, match="no reset_parameters reaches 'scale'"):
        untrained(Owning(), 0)
    found = suite.diagnose(Owning(), ring())
    assert found.initial == {}
    assert "What it was untrained is not known: no reset_parameters reaches 'scale'." in found.sentences["Looked at"]
    assert "Untrained" not in found.sentences
    assert found.to_frame()["initial"].isna().all()


@pytest.mark.parametrize("model", [Means(2), Still()])
def test_a_model_without_weights_was_never_untrained(model: nn.Module) -> None:
    assert untrained(model, 0) is None
    assert "Untrained" not in suite.diagnose(model, ring()).sentences


def test_before_and_after_stand_beside_each_other() -> None:
    model = GCN(3, 8, 2, 2)
    model.convs[1].lin.weight.data.zero_()  # as if it had unlearnt to look
    found = suite.diagnose(model, ring())
    assert found.findings["Reach"].short == "feels nothing"
    assert found.sentences["Untrained"].startswith("With weights drawn anew: blind beyond 2 hops;")
    assert set(found.measures) - set(found.initial) == {"topology"}  # which no weights change
    frame = found.to_frame()
    rows = frame[(frame["measure"] == "smoothing") & (frame["quantity"] == "feature_norm")]
    assert rows["initial"].tolist() == found.initial["smoothing"]["feature_norm"]
    assert rows["value"].tolist() == found.measures["smoothing"]["feature_norm"]
    rank = next(ax for ax in found.plot().axes if ax.get_title(loc="left") == "Effective rank, centred")
    (line,) = [line for line in rank.lines if line.get_linestyle() == "--"]
    assert list(line.get_ydata()) == found.initial["smoothing"]["effective_rank_centred"]
