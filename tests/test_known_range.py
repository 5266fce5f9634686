"""Facts about tasks of known range: kernels by NetworkX and PyG, moments by theory, and what can be guessed."""

import itertools
from typing import Any

import networkx as nx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.autograd.functional import jacobian
from torch_geometric.data import Data
from torch_geometric.nn import SGConv
from torch_geometric.nn.conv.gcn_conv import gcn_norm
from torch_geometric.utils import to_dense_adj, to_networkx

from datasets import known_range
from datasets.known_range import KnownRange
from suite import controls
from suite.certify import LEAK
from suite.rng import stream
from suite.task import Block
from suite.views import Extrapolated, task_ref

GRAPHS = ["line", "ring", "grid", "torus"]
KERNELS: list[dict[str, Any]] = [{"kernel": "hop"}, {"kernel": "decay", "exponent": 1.5}, {"kernel": "power"}]


def distances(block: Block) -> dict[int, dict[int, int]]:
    web = to_networkx(Data(edge_index=block.edge_index, num_nodes=block.num_nodes), to_undirected=True)
    return dict(nx.all_pairs_shortest_path_length(web))


@settings(max_examples=25, deadline=None)
@given(graph=st.sampled_from(GRAPHS), size=st.integers(4, 8), hops=st.integers(1, 3), exponent=st.sampled_from([0.0, 1.0, 2.6]))
def test_answers_are_weighted_means_over_distances(graph: Any, size: int, hops: int, exponent: float) -> None:
    hops = min(hops, size // 2 - 1)  # where not all others of a ring are within, whose mean needs no edge
    for task in (
        KnownRange(graph=graph, size=size, hops=hops),
        KnownRange(graph=graph, size=size, hops=hops, kernel="decay", exponent=exponent),
        KnownRange(graph=graph, size=size, hops=hops, kernel="decay", exponent=exponent, interaction="product", values="spin"),
    ):
        block = task.draw(3, stream("test", size))
        apart = distances(block)
        for (i, v), g in itertools.product(enumerate(block.readout_index.tolist()), range(3)):
            far = {u: d for u, d in apart[v].items() if (d == hops if task.kernel == "hop" else 1 <= d <= hops)}
            weight = {u: d ** -float(exponent if task.kernel == "decay" else 0) for u, d in far.items()}
            mean = sum(w * float(block.x[g, u, 0]) for u, w in weight.items()) / sum(weight.values())
            factor = float(block.x[g, v, 0]) if task.interaction == "product" else 1.0
            assert float(block.y[g, i]) == pytest.approx(factor * mean, abs=1e-5)


@pytest.mark.parametrize(
    "fields",
    [
        {"graph": "line", "size": 3, "kernel": "hop"},  # the ends are asked for the node of degree 2, and it for the others' mean
        {"graph": "ring", "size": 3, "kernel": "hop"},
        {"graph": "ring", "size": 7, "kernel": "decay", "hops": 3, "interaction": "product"},  # the mean of all others
    ],
    ids=str,
)
def test_answers_that_values_and_degrees_give_away_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"size: must be larger, or hops other, for edges to matter"):
        KnownRange(**{"hops": 1, **fields})


def test_only_nodes_with_another_that_far_away_are_asked() -> None:
    block = KnownRange(graph="line", size=9, hops=6).draw(1, stream("test"))
    assert block.readout_index.tolist() == [0, 1, 2, 6, 7, 8]
    assert block.source_index is not None
    apart = distances(block)
    pairs = zip(block.readout_index.tolist(), block.source_index.tolist(), strict=True)
    assert all(apart[v][u] == 6 for v, u in pairs)


@pytest.mark.parametrize("graph", GRAPHS)
def test_a_linear_net_with_the_true_operator_is_a_witness(graph: Any) -> None:
    """SGConv, K = hops, weight 1: the same answers, and the range of its Jacobian is the kernel's."""
    task = KnownRange(graph=graph, size=6, hops=3, kernel="power")
    block = task.draw(4, stream("test"))
    net = SGConv(1, 1, K=3, bias=False).double()
    torch.nn.init.ones_(net.lin.weight)
    for x, y in zip(block.x.double(), block.y, strict=True):
        assert torch.allclose(net(x, block.edge_index)[:, 0], y.double(), atol=1e-6)
    derivative = jacobian(lambda x: net(x, block.edge_index)[:, 0], block.x[0].double())[:, :, 0].abs()
    apart = distances(block)
    hops = torch.tensor([[apart[v][u] for u in range(block.num_nodes)] for v in range(block.num_nodes)])
    range_ = ((derivative * hops).sum(1) / derivative.sum(1)).mean()
    assert task.exact_range() == pytest.approx(float(range_), abs=1e-6)


def test_ranges_worked_out_by_hand() -> None:
    assert KnownRange(graph="ring", size=30, kernel="power", hops=5).exact_range() == pytest.approx(350 / 243, abs=1e-12)
    assert KnownRange(graph="grid", size=8, hops=4).exact_range() == pytest.approx(4)
    assert KnownRange(graph="ring", size=30, kernel="decay", hops=3).exact_range() == pytest.approx(2)
    task = KnownRange(graph="ring", size=30, kernel="decay", exponent=1, hops=3)  # weights 1, 1/2, 1/3
    assert task.exact_range() == pytest.approx(3 / (11 / 6))
    assert KnownRange(hops=4).range == 4
    assert task.range is None


def test_an_oracle_of_some_hops_leaves_the_rest_of_the_squares_open() -> None:
    task = KnownRange(graph="ring", size=30, kernel="decay", exponent=1, hops=3)
    squares = [1, 1 / 4, 1 / 9]
    for radius in range(5):
        assert task.oracle(radius) == pytest.approx(sum(squares[radius:]) / 2 / (11 / 6) ** 2)
    hop = KnownRange(hops=4)
    assert [round(hop.oracle(radius) / hop.oracle(0), 9) for radius in (0, 3, 4)] == [1, 1, 0]


@pytest.mark.parametrize("interaction", ["copy", "product"])
@pytest.mark.parametrize("kernel", [{"kernel": "hop", "hops": 3}, {"kernel": "power", "hops": 2}], ids=str)
def test_a_model_that_weighs_as_the_kernel_does_scores_0_on_another_graph(kernel: dict[str, Any], interaction: Any) -> None:
    """Fitted to answers on a line, where each node is asked for NetworkX's or PyG's sum: then asked on a grid."""
    fields: dict[str, Any] = {"interaction": interaction, **kernel}
    view = Extrapolated(seen=task_ref(KnownRange(graph="grid", size=6, **fields)), trained={"graph": "line", "size": 12})

    def sums(block: Block) -> tuple[Tensor, Tensor]:
        web = to_networkx(Data(edge_index=block.edge_index, num_nodes=block.num_nodes), to_undirected=True)
        asked = block.readout_index.tolist()
        if task.kernel == "hop":
            apart = dict(nx.all_pairs_shortest_path_length(web))
            weight = torch.tensor([[float(apart[v][u] == task.hops) for u in range(block.num_nodes)] for v in asked]).double()
            weight = weight / weight.sum(1, keepdim=True)
        else:
            index, value = gcn_norm(block.edge_index, num_nodes=block.num_nodes, dtype=torch.double)
            weight = torch.linalg.matrix_power(to_dense_adj(index, edge_attr=value)[0], task.hops)[asked]
        x = block.x[:, :, 0].double()
        found = x @ weight.T
        return (found * x[:, asked] if interaction == "product" else found).flatten(), block.y.double().flatten()

    task = KnownRange(graph="grid", size=6, **fields)
    seen, asked = (view.at(split, 0).draw(20, stream("test", split)) for split in ("train", "test"))
    assert isinstance(seen, Block)
    assert isinstance(asked, Block)
    found, y = sums(seen)
    line = torch.linalg.lstsq(torch.stack([found, torch.ones_like(found)], 1), y[:, None]).solution[:, 0]
    found, y = sums(asked)
    assert float((line[0] * found + line[1] - y).square().mean()) < 1e-10
    assert 0 < view.chance < float(y.square().mean()) * 1.2


@pytest.mark.parametrize("size", [6, 9])
def test_on_a_ring_guessing_knows_the_mean_of_the_others_and_no_more(size: int) -> None:
    """Of k weights 1 / k on n - 1 others, the mean explains 1 / (n - 1) of the variance 1 / k."""
    for hops, k in ((1, 2), (2, 2)):
        task = KnownRange(graph="ring", size=size, hops=hops)
        assert task.chance == pytest.approx(1 / k - 1 / (size - 1))


@pytest.mark.parametrize("interaction", ["copy", "product"])
@pytest.mark.parametrize("kernel", KERNELS, ids=lambda kernel: kernel["kernel"])
def test_chance_is_what_least_squares_on_all_that_a_set_shows_leaves_open(kernel: dict[str, Any], interaction: Any) -> None:
    """A regression, for each degree of the node, on its own value and the sums over the others of each degree."""
    task = KnownRange(graph="line", size=7, hops=2, interaction=interaction, **kernel)
    block = task.draw(30_000, stream("test"))
    x, y = block.x[:, :, 0].double(), block.y.double()
    degrees = torch.bincount(block.edge_index[0])
    left = torch.zeros(len(x), dtype=torch.double)
    for d in degrees.unique():
        asked = [i for i, v in enumerate(block.readout_index.tolist()) if degrees[v] == d]
        rows = []
        for i in asked:
            v = int(block.readout_index[i])
            others = [x[:, (degrees == e) & (torch.arange(7) != v)].sum(1) for e in degrees.unique()]
            seen = [x[:, v], *others]
            rows.append(
                torch.stack([*([x[:, v] * s for s in seen] if interaction == "product" else seen), torch.ones(len(x))], 1)
            )
        inputs, targets = torch.cat(rows), torch.cat([y[:, i] for i in asked])
        weight = torch.linalg.lstsq(inputs, targets[:, None]).solution
        left += (targets - (inputs @ weight)[:, 0]).square().view(len(asked), -1).sum(0) / len(block.readout_index)
    assert task.chance == pytest.approx(float(left.mean()), abs=4 * float(left.std()) / 30_000**0.5)


def test_the_energy_of_long_range_spins() -> None:
    task = KnownRange(graph="torus", size=6, kernel="decay", exponent=2.6, hops=6, interaction="product", values="spin")
    block = task.draw(50, stream("test"))
    assert set(block.x.unique().tolist()) == {-1, 1}
    flipped = block.x.clone().neg()  # a global flip leaves every energy as it was
    again = flipped[:, :, 0].double() * (flipped[:, :, 0].double() @ task.weights().T)
    assert torch.allclose(again.float(), block.y, atol=1e-5)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"exponent": 1.0}, "exponent: must be 0 for the kernel 'hop', only 'decay' has one, got 1.0"),
        ({"size": 40}, "size: must give at most 1024 nodes, 40 on a grid gives 1600"),
        ({"graph": "ring", "size": 9, "hops": 5}, "hops: must be <= 4 on a ring of size 9, got 5"),
    ],
)
def test_what_cannot_be_asked_is_refused(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        KnownRange(**fields)


@pytest.mark.parametrize("interaction", ["copy", "product"])
def test_the_best_guess_is_no_leak_on_the_test_sets_of_a_control(interaction: Any) -> None:
    """Scores of a control are the best of a few seeds, each on a test set of its own: as large as a set without luck must be."""
    task = KnownRange(interaction=interaction)  # a grid of 16
    size = controls._sized(controls.SLOW_BUDGET, task, controls._Extent(256, 256, 256, shared=True)).num_test
    weights, asked = task.weights(), task.readouts()
    blind = known_range._blind(weights, asked, known_range._graph(task.graph, task.size).edge_index)
    found = []
    for number in range(24):
        block = task.draw(size, stream("luck", number))
        guess = task._answers(block.x[..., 0].double(), blind, asked)
        found.append(float((guess - block.y).square().mean()))
    assert sum(found) / len(found) == pytest.approx(task.chance, rel=0.02)
    assert min(found) > task.chance * (1 - LEAK)
