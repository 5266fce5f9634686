"""What a diagnosis measures besides the table of a study: against closed forms, and that no measure is forgotten."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from oracles import Means
from scipy.integrate import quad
from scipy.optimize import brentq
from scipy.stats import norm
from torch import Tensor, nn
from torch_geometric.data import Data
from torch_geometric.nn import GCN, SGConv
from torch_geometric.utils import to_undirected

import suite
from datasets.published import PublishedRingTransfer
from datasets.ring import Ring
from datasets.transfer import Transfer
from suite.measures.page import functions
from suite.measures.recoverability import half_epsilon
from suite.models import build, resolve

ROOT = Path(__file__).resolve().parents[1]


def ring(num_nodes: int, x: Tensor | None = None) -> Data:
    node = torch.arange(num_nodes)
    x = torch.randn(num_nodes, 5, generator=torch.Generator().manual_seed(0)) if x is None else x
    return Data(x=x, edge_index=to_undirected(torch.stack([node, node.roll(-1)])))


class Turned(nn.Module):
    """Every node has the state of the one `by` places before it."""

    def __init__(self, by: int) -> None:
        super().__init__()
        self.by = by

    def encode(self, x: Tensor, edge_index: Tensor) -> list[Tensor]:
        return [x, x.roll(self.by, 0)]

    def decode(self, hidden: list[Tensor]) -> Tensor:
        return hidden[-1]

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        return self.decode(self.encode(x, edge_index))


@pytest.mark.parametrize("by", [0, 2])
def test_a_token_from_far_is_read_where_it_is_and_nowhere_else(by: int, only: Callable[..., None]) -> None:
    only("far_tokens", "recoverability")
    graph = ring(9)
    graph.readout_index, graph.source_index = torch.tensor([4]), torch.tensor([4 - by])
    found = suite.diagnose(Turned(by), graph)
    tokens = found.measures["far_tokens"]
    for epsilon in ("0", "1e-07", "0.001", "0.01"):
        skills = tokens["by_hop"][epsilon]
        assert skills[by] == 1
        assert max(abs(skill) for hop, skill in enumerate(skills) if hop != by) < 0.3
    assert [hop for hop, half in enumerate(tokens["half_epsilon"]) if half] == [by]
    frame = found.to_frame()
    rows = frame[frame["quantity"].isin([f"by_hop.{epsilon}" for epsilon in tokens["by_hop"]])]
    assert len(rows) == sum(map(len, tokens["by_hop"].values()))
    assert set(rows["axis"]) == {"hop"}
    if by:
        assert "a token 2 hops away is read with skill 1, and half of it is left at noise" in found.findings["Own tokens"].text


def test_noise_that_halves_recoverability_is_that_of_the_best_decision() -> None:
    num_classes, rng = 5, torch.Generator().manual_seed(0)
    tokens = [torch.randint(num_classes, (rows,), generator=rng) for rows in (2000, 500, 4000)]
    h = [F.one_hot(part, num_classes).double() for part in tokens]

    def skill(epsilon: float) -> float:  # of the largest of five entries, one of them higher by 1, all with noise
        gap = math.sqrt(num_classes) / epsilon  # the root mean square of one-hot entries is 1 / sqrt(K)
        right = quad(lambda z: norm.pdf(z) * norm.cdf(z + gap) ** (num_classes - 1), -8, 8)[0]
        return float((right - 1 / num_classes) / (1 - 1 / num_classes))

    expected = brentq(lambda epsilon: skill(epsilon) - 0.5, 0.1, 10)
    found = half_epsilon(h, tokens, num_classes, rng)
    assert expected / 1.4 < found < expected * 1.4


def test_without_anything_to_read_no_noise_is_needed() -> None:
    tokens = [torch.arange(rows) % 2 for rows in (40, 20, 40)]
    still = [torch.ones(len(part), 3) for part in tokens]
    assert half_epsilon(still, tokens, 2, torch.Generator().manual_seed(0)) == 0
    gone = [torch.full((len(part), 3), math.nan) for part in tokens]
    assert math.isnan(half_epsilon(gone, tokens, 2, torch.Generator().manual_seed(0)))


def test_singular_values_of_means_over_a_ring_are_its_eigenvalues(only: Callable[..., None]) -> None:
    only("spectrum")
    n = 10
    found = suite.diagnose(Means(2), ring(n)).measures["spectrum"]
    values = [abs(1 + 2 * math.cos(2 * math.pi * k / n)) / 3 for k in range(n)]
    for layer in ("1", "2"):
        np.testing.assert_allclose(found["singular_values"][layer], sorted(values * 5, reverse=True), atol=1e-7)
    assert found["shrinking"] == [None, pytest.approx(0.9), pytest.approx(0.9)]
    assert found["lost"][1] == pytest.approx(sum(value < 0.1 for value in values) / n)


def test_what_a_layer_does_to_a_small_change_is_exact_where_its_directions_are_all_known(only: Callable[..., None]) -> None:
    """The squares of (1 + 2 cos) / 3 over a ring have the mean 3 / 9."""
    only("layers", "smoothing", "spectrum")
    found = suite.diagnose(Means(3), ring(12))
    assert found.measures["spectrum"]["rms"][1:] == pytest.approx([3**-0.5] * 3)
    assert "A layer multiplies a small change by 0.577 (root mean square" in found.sentences["Scale"]
    large = suite.diagnose(Means(3), ring(200))  # too large for all directions
    assert "estimated from 4 probes" in large.sentences["Scale"]


def test_energies_have_their_norms_beside_them_and_bare_diffusion_comes_to_its_limit(only: Callable[..., None]) -> None:
    only("energies")
    n, graph = 8, ring(8)
    found = suite.diagnose(Means(3), graph).measures["energies"]
    for layer, h in enumerate([graph.x.double(), *_powers(graph.x.double(), 3)]):
        energy = sum(float((h[a] - h[b]).square().sum()) for a, b in graph.edge_index.T.tolist()) / 2
        assert found["energy_mean"][layer] == pytest.approx(energy)
        assert found["norm_mean"][layer] == pytest.approx(3 * float(h.square().sum()))
        assert found["energy_gcn"][layer] == pytest.approx(energy / 3)  # all degrees are 3
    wave = torch.cos(2 * math.pi * torch.arange(n) / n)
    bare = suite.diagnose(Means(3), ring(n, torch.stack([1 + wave] * 2, dim=1))).measures["energies"]
    fading = [((1 + 2 * math.cos(2 * math.pi / n)) / 3) ** layer for layer in range(4)]
    expected = [math.sqrt(f**2 / 2 / (1 + f**2 / 2)) for f in fading]  # |wave|^2 is half of |1|^2
    assert bare["diffusion_mean"] == pytest.approx(expected, abs=1e-6)
    assert bare["diffusion_gcn"] == pytest.approx(expected, abs=1e-6)


def _powers(h: Tensor, times: int) -> list[Tensor]:
    states = []
    for _ in range(times):
        h = (h + h.roll(1, 0) + h.roll(-1, 0)) / 3
        states.append(h)
    return states


def test_of_components_the_one_that_collapsed_and_the_one_that_did_not_are_told(only: Callable[..., None]) -> None:
    only("energies")
    one, other = ring(3), ring(30)
    both = Data(x=torch.cat([one.x, other.x]), edge_index=torch.cat([one.edge_index, other.edge_index + 3], dim=1))
    found = suite.diagnose(Means(1), both).measures["energies"]
    assert found["component_least_mean"][1] < 1e-7  # a triangle's rows are equal after one mean
    assert found["component_most_mean"][1] > 0.1


def test_zero_states_are_counted_and_said(only: Callable[..., None]) -> None:
    only("groups", "smoothing")

    class Cut(Means):
        def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
            return super().forward(x, edge_index)

    graph = ring(9)
    graph.x[2:7] = 0
    found = suite.diagnose(Cut(1), graph)
    assert found.measures["smoothing"]["zero_rows"] == [5, 3]  # of five in a row the inner three stay 0
    assert "3 states of 0 left out" in found.findings["Over-smoothing"].text


def test_all_graphs_count_and_how_many_is_said() -> None:
    graphs = [ring(6), ring(10)]
    found = suite.diagnose(GCN(5, 8, 2, 2, act="tanh"), graphs)
    topology = found.measures["topology"]
    assert (topology["num_graphs"], topology["num_nodes"], topology["num_edges"]) == (2, 8, 8)
    assert topology["total_resistance"] == pytest.approx((17.5 + 82.5) / 2)  # (n^3 - n) / 12
    assert topology["shell_sizes"] == [1, 2, 2, 1.5, 2, 1]
    assert (topology["pair_hops"], topology["planted"]) == (4, False)
    assert all(found.measures[name]["num_graphs"] == 2 for name in ("energies", "groups", "shares", "mixing", "topology"))
    assert "Means over 2 graphs: 8 nodes" in found.findings["Graph"].text


def test_where_nothing_but_the_source_varies_it_is_said(only: Callable[..., None]) -> None:
    only("influence", "shares")
    task = PublishedRingTransfer(hops=3)
    width = task.draw(1, torch.Generator().manual_seed(0))
    channels = (width.x if hasattr(width, "x") else width[0].x).size(-1)
    found = suite.diagnose(build(resolve("sgc"), channels, 8, 3, task.out_channels), task)
    assert found.measures["shares"]["undisturbed"] == found.measures["shares"]["num_graphs"]
    assert "nothing that varies is felt but a source" in found.findings["Over-squashing"].text


def test_one_is_said_as_one(only: Callable[..., None]) -> None:
    only("topology")
    one_way = torch.tensor([[0, 1, 2], [1, 2, 3]])
    path = Data(x=torch.randn(4, 5), edge_index=to_undirected(one_way), readout_index=torch.tensor([0]))
    text = suite.diagnose(Means(1), path).findings["Graph"].text
    assert "has 3 hops, 1 shortest path, 0 walks of 1 step, 3 ohms, 18 steps" in text
    assert text.endswith("a cut of 1 edge or 1 node.")


# nothing is forgotten


def left_out() -> set[str]:
    text = (ROOT / "docs" / "diagnose.md").read_text()
    (part,) = re.findall(r"^## What it leaves out\n(.*?)(?=^## |\Z)", text, re.DOTALL | re.MULTILINE)
    return set(re.findall(r"^\| `(\w+)`", part, re.MULTILINE))


def test_every_measure_is_taken_by_a_diagnosis_or_the_page_says_why_not() -> None:
    called: set[Any] = set()

    def note(frame: FrameType, event: str, _: Any) -> None:
        if event == "call":
            called.add(frame.f_code)

    torch.manual_seed(0)
    classes = ring(9)
    classes.y = torch.arange(9) % 3
    declared, smooth = [build(resolve(name), 7, 8, 2, 5) for name in ("gcn", "gcn_residual")], GCN(5, 8, 2, 3, act="tanh")
    sys.setprofile(note)
    try:
        found = [suite.diagnose(model, Transfer(topology=Ring(), hops=2)) for model in declared]
        found.append(suite.diagnose(smooth, classes))
    finally:
        sys.setprofile(None)
    assert [set(each.absent) for each in found] == [{"mixing"}, {"mixing"}, set()]
    taken = {function.__name__ for function in functions() if function.__code__ in called}
    every = {function.__name__ for function in functions()}
    assert every - taken == left_out()


def test_that_encodings_are_held_is_in_the_result() -> None:
    found = suite.diagnose(Means(1), ring(6))
    assert found.measures["shares"]["encodings"] == "held"
    assert "Derivatives are by x, with encodings and edges held as they are." in found.sentences["Looked at"]


def test_what_aggregation_does_to_a_total_is_told() -> None:
    """Means take nothing; S on a star from its hub: 1/(n + 1) + n / sqrt(2 (n + 1))."""
    assert suite.diagnose(Means(3), ring(9)).measures["shares"]["aggregation_gain"] == pytest.approx(0, abs=1e-12)
    n = 6
    star = Data(x=torch.randn(n + 1, 3), edge_index=to_undirected(torch.tensor([[0] * n, [*range(1, n + 1)]])))
    star.readout_index = torch.tensor([0])
    found = suite.diagnose(SGConv(3, 3), star)
    expected = 1 / (n + 1) + n / (2 * (n + 1)) ** 0.5
    assert 10 ** found.measures["shares"]["aggregation_gain"] == pytest.approx(expected, rel=1e-9)
    assert "All that an output feels is 1.75 times what it is where each node is its own only neighbour" in str(
        found.sentences["Over-squashing"]
    )
    star.edge_weight = torch.ones(2 * n)
    assert suite.diagnose(SGConv(3, 3), star).measures["shares"]["aggregation_gain"] is None
