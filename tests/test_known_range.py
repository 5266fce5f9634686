"""Facts about tasks of known range: kernels by NetworkX and PyG, moments by theory, and what can be guessed."""

import math
from typing import Any, get_args

import networkx as nx
import pytest
import torch
from torch import Tensor, nn
from torch.autograd.functional import jacobian
from torch_geometric.data import Data
from torch_geometric.nn import SGConv
from torch_geometric.nn.conv.gcn_conv import gcn_norm
from torch_geometric.utils import to_dense_adj, to_networkx

from datasets import known_range
from datasets.barabasi_albert import BarabasiAlbert
from datasets.caterpillar import Caterpillar
from datasets.clique_chain import CliqueChain
from datasets.erdos_renyi import ErdosRenyi
from datasets.grid import Grid
from datasets.known_range import KnownRange
from datasets.network import Network
from datasets.path import Path
from datasets.ring import Ring
from datasets.stochastic_blockmodel import StochasticBlockmodel
from datasets.torus import Torus
from suite import controls
from suite.certify import LEAK
from suite.hops import hop_distance
from suite.measures import absolute_influence, influence_range
from suite.rng import stream
from suite.task import Block, Split
from suite.views import Extrapolated, task_ref

GRAPHS: dict[str, dict[str, Any]] = {  # and the sizes they are built with
    "path": {"topology": Path(tail=0), "size": 7},
    "ring": {"topology": Ring(), "size": 5},
    "grid": {"topology": Grid(width=4, extra=0), "size": 6},
    "torus": {"topology": Torus(width=5), "size": 5},
    "erdos_renyi": {"topology": ErdosRenyi(num_nodes=20, mean_degree=2.5, seed=1), "size": 1},
    "stochastic_blockmodel": {"topology": StochasticBlockmodel(num_blocks=2, block_size=12, inside=0.2, outside=0.02), "size": 1},
    "barabasi_albert": {"topology": BarabasiAlbert(num_nodes=20, attached=2), "size": 1},
    "caterpillar": {"topology": Caterpillar(), "size": 5},
}
KERNELS: list[dict[str, Any]] = [
    {"kernel": "hop"},
    {"kernel": "decay", "exponent": 1.5},
    {"kernel": "decay"},
    {"kernel": "decay", "exponent": -1.0},
    {"kernel": "exponential", "exponent": 1.0},
    {"kernel": "resistance", "exponent": -1.0},
    {"kernel": "resistance", "exponent": 2.0},
    {"kernel": "power"},
    {"kernel": "power", "loops": False},
    {"kernel": "power", "operator": "mean", "loops": False},
    {"kernel": "power", "operator": "sum"},
    {"kernel": "power", "entries": "root"},
    {"kernel": "power", "operator": "mean", "entries": "inverse"},
]
INTERACTIONS: list[dict[str, Any]] = [
    {"interaction": "copy"},
    {"interaction": "product"},
    {"interaction": "product", "values": "spin"},
    {"interaction": "distance"},
    {"interaction": "distance", "values": "spin"},
    {"interaction": "cosine", "channels": 3},
    {"interaction": "cosine"},
]


def said(fields: dict[str, Any]) -> str:
    return " ".join(map(str, fields.values()))


def web_of(block: Block) -> nx.Graph:
    return to_networkx(Data(edge_index=block.edge_index, num_nodes=block.num_nodes), to_undirected=True)


def distances(block: Block) -> dict[int, dict[int, int]]:
    return dict(nx.all_pairs_shortest_path_length(web_of(block)))


def every_row(task: KnownRange, block: Block) -> list[list[float]]:
    """All of D: distances and resistances by NetworkX, powers as the shares of walks counted one step after the other."""
    web, apart, n = web_of(block), distances(block), block.num_nodes
    if task.kernel == "power":
        near = [[*web[v], *([v] if task.loops else [])] for v in range(n)]
        step = {
            "gcn": lambda v, u: (len(near[v]) * len(near[u])) ** -0.5,
            "mean": lambda v, _: 1 / len(near[v]),
            "sum": lambda *_: 1.0,
        }
        rows = [[float(u == v) for u in range(n)] for v in range(n)]
        for _ in range(task.hops):
            rows = [[sum(step[task.operator](v, w) * rows[w][u] for w in near[v]) for u in range(n)] for v in range(n)]
        if task.entries != "plain":
            change = math.sqrt if task.entries == "root" else lambda entry: 1 / entry
            rows = [[change(entry) if entry else 0.0 for entry in row] for row in rows]
        elif task.operator == "gcn":
            return rows
    else:
        ohms = nx.resistance_distance(web) if task.kernel == "resistance" else None
        weight = {
            "hop": lambda v, u: float(apart[v][u] == task.hops),
            "decay": lambda v, u: apart[v][u] ** -task.exponent,
            "exponential": lambda v, u: math.exp(-task.exponent * apart[v][u]),
            "resistance": lambda v, u: ohms[v][u] ** -task.exponent,
        }[task.kernel]
        rows = [[weight(v, u) if 1 <= apart[v][u] <= task.hops else 0.0 for u in range(n)] for v in range(n)]
    return [[entry / (sum(row) or 1) for entry in row] for row in rows]


def between(task: KnownRange, v: list[float], u: list[float]) -> float:
    if task.interaction == "distance":
        return abs(v[0] - u[0])
    if task.interaction == "cosine":
        return sum(a * b for a, b in zip(v, u, strict=True)) / math.hypot(*v) / math.hypot(*u)
    return u[0] if task.interaction == "copy" else v[0] * u[0]


def answers(task: KnownRange, block: Block) -> list[list[float]]:
    """The sum as it is written, graph by graph, node by node."""
    rows = every_row(task, block)
    return [
        [sum(rows[v][u] * between(task, x[v], x[u]) for u in range(block.num_nodes)) for v in block.readout_index.tolist()]
        for x in block.x.double().tolist()
    ]


@pytest.mark.parametrize("kernel", KERNELS, ids=said)
@pytest.mark.parametrize("graph", GRAPHS)
def test_answers_are_the_sum_as_it_is_written_by_every_kernel_on_every_graph(graph: str, kernel: dict[str, Any]) -> None:
    task = KnownRange(**GRAPHS[graph], **kernel, hops=3)
    block = task.draw(2, stream("test", graph))
    assert block.y.flatten().tolist() == pytest.approx([y for row in answers(task, block) for y in row], abs=1e-5)


@pytest.mark.parametrize("interaction", INTERACTIONS, ids=said)
@pytest.mark.parametrize("kernel", [{"kernel": "hop"}, {"kernel": "power", "operator": "mean"}], ids=said)
def test_answers_are_the_sum_as_it_is_written_of_every_interaction(kernel: dict[str, Any], interaction: dict[str, Any]) -> None:
    task = KnownRange(**GRAPHS["erdos_renyi"], **kernel, **interaction, hops=2)
    block = task.draw(3, stream("test", said(interaction)))
    assert block.y.flatten().tolist() == pytest.approx([y for row in answers(task, block) for y in row], abs=1e-5)


def test_the_grid_and_the_graphs_of_a_hundred_nodes_that_were_published_can_be_asked() -> None:
    """Grid 16 x 16, path of 16, ER and BA of 100 nodes, blocks of 50 and 50."""
    default = KnownRange().draw(1, stream("test"))
    assert nx.is_isomorphic(web_of(default), nx.grid_2d_graph(16, 16))
    assert KnownRange(topology=Path(tail=0), size=15).draw(1, stream("test")).num_nodes == 16
    for topology in (ErdosRenyi(num_nodes=100), BarabasiAlbert(num_nodes=100), StochasticBlockmodel(num_blocks=2, block_size=50)):
        task = KnownRange(topology=topology, size=1, kernel="exponential", exponent=1.0, hops=2)
        assert 50 < task.draw(1, stream("test")).num_nodes <= 100


def test_every_node_of_a_network_is_asked_whatever_the_split() -> None:
    task = KnownRange(topology=Network(name="ky4_water"), size=8)
    assert {task.at(split, 3) for split in get_args(Split)} == {task}
    assert len(task.readouts()) > 900


@pytest.mark.parametrize(
    "fields",
    [
        {
            "topology": Path(tail=0),
            "size": 2,
            "kernel": "hop",
        },  # the ends are asked for the node of degree 2, and it for the others' mean
        {"topology": Ring(), "size": 4, "kernel": "decay", "hops": 4, "interaction": "product"},  # the mean of all others
    ],
    ids=str,
)
def test_answers_that_values_and_degrees_give_away_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"size: must be larger, or hops other, for edges to matter"):
        KnownRange(**{"hops": 1, **fields})


def test_only_nodes_with_another_that_far_away_are_asked() -> None:
    block = KnownRange(topology=Path(tail=0), size=8, hops=6).draw(1, stream("test"))
    assert block.readout_index.tolist() == [0, 1, 2, 6, 7, 8]
    assert block.source_index is not None
    apart = distances(block)
    pairs = zip(block.readout_index.tolist(), block.source_index.tolist(), strict=True)
    assert all(apart[v][u] == 6 for v, u in pairs)


@pytest.mark.parametrize("graph", GRAPHS)
def test_a_linear_net_with_the_true_operator_is_a_witness(graph: str) -> None:
    """SGConv, K = hops, weight 1: the same answers, and the range of its Jacobian is the kernel's."""
    task = KnownRange(**GRAPHS[graph], hops=3, kernel="power")
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


class Exact(nn.Module):
    """The task's function itself, in torch, D being counted by `every_row`."""

    def __init__(self, task: KnownRange, block: Block) -> None:
        super().__init__()
        self.task = task
        self.rows = nn.Parameter(torch.tensor(every_row(task, block)))

    def forward(self, x: Tensor, edge_index: Tensor, batch: Tensor | None = None) -> Tensor:
        own, other = x, x[:, 0]
        pairs = {"copy": other.expand(len(x), -1), "product": own * other, "distance": (own - other).abs()}[self.task.interaction]
        return (self.rows * pairs).sum(1, keepdim=True)


@pytest.mark.parametrize(
    "fields",
    [
        kernel | {"interaction": interaction}
        for kernel in KERNELS
        for interaction in ("copy", "product", "distance")
        if interaction == "copy" or kernel["kernel"] != "power"  # where a node's own weight is a part of D
    ],
    ids=said,
)
@pytest.mark.parametrize("graph", ["path", "erdos_renyi"])
def test_the_exact_range_is_what_the_measure_finds_of_the_function_itself(graph: str, fields: dict[str, Any]) -> None:
    """And what the definition gives, pair by pair; of answers that depend on the node's own value, without that."""
    task = KnownRange(**GRAPHS[graph], **fields, hops=3)
    block = task.draw(1, stream("test", graph))
    found = absolute_influence(Exact(task, block), block.to_data_list()[0])
    apart = hop_distance(block.edge_index, block.readout_index, block.num_nodes)
    if task.interaction != "copy":
        found = found.where(apart > 0, 0)
    assert task.exact_range() == pytest.approx(float(influence_range(found, apart).normalised.mean()))
    rows, hops = every_row(task, block), distances(block)
    asked = block.readout_index.tolist()
    sums = [sum(rows[v][u] * hops[v][u] for u in hops) / sum(rows[v]) for v in asked]
    assert task.exact_range() == pytest.approx(sum(sums) / len(sums))


@pytest.mark.parametrize("interaction", INTERACTIONS, ids=said)
def test_who_sees_some_hops_and_expects_of_the_rest_what_is_usual_is_as_good_as_the_oracle(interaction: dict[str, Any]) -> None:
    """The mean of I over unseen values, given x_v: 0, but of a distance E|x_v - X|, of normal X or spins."""
    task = KnownRange(**GRAPHS["barabasi_albert"], **interaction, kernel="exponential", exponent=0.5, hops=3)
    block = task.draw(8_000, stream("test"))
    for radius in (0, 1, 2):
        distance = hop_distance(block.edge_index, block.readout_index, block.num_nodes)
        seen = task._answers(block.x.double(), task.weights() * (distance <= radius), block.readout_index)
        own = block.x[:, block.readout_index, 0].double()
        usual = torch.zeros(())
        if task.interaction == "distance":
            density = torch.distributions.Normal(0.0, 1.0)
            normal = 2 * density.log_prob(own).exp() + own * (2 * density.cdf(own) - 1)
            usual = normal if task.values == "normal" else torch.ones_like(own)
        left = (block.y - seen - usual * (task.weights() * (distance > radius)).sum(1)).square().mean(1)
        assert task.oracle(radius) == pytest.approx(float(left.mean()), abs=4 * float(left.std()) / 8_000**0.5)


def test_ranges_worked_out_by_hand() -> None:
    assert KnownRange(topology=Ring(), size=15, kernel="power", hops=5).exact_range() == pytest.approx(350 / 243, abs=1e-12)
    assert KnownRange(topology=Grid(width=8, extra=0), size=14, hops=4).exact_range() == pytest.approx(4)
    assert KnownRange(topology=Ring(), size=15, kernel="decay", hops=3).exact_range() == pytest.approx(2)
    task = KnownRange(topology=Ring(), size=15, kernel="decay", exponent=1, hops=3)  # weights 1, 1/2, 1/3
    assert task.exact_range() == pytest.approx(3 / (11 / 6))
    assert KnownRange(hops=4).range == 4
    assert task.range is None


def test_an_oracle_of_some_hops_leaves_the_rest_of_the_squares_open() -> None:
    task = KnownRange(topology=Ring(), size=15, kernel="decay", exponent=1, hops=3)
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
    view = Extrapolated(
        seen=task_ref(KnownRange(**GRAPHS["grid"], **fields)), trained={"topology": {"kind": "path", "tail": 0}, "size": 11}
    )

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

    task = KnownRange(**GRAPHS["grid"], **fields)
    seen, asked = (view.at(split, 0).draw(20, stream("test", split)) for split in ("train", "test"))
    assert isinstance(seen, Block)
    assert isinstance(asked, Block)
    found, y = sums(seen)
    line = torch.linalg.lstsq(torch.stack([found, torch.ones_like(found)], 1), y[:, None]).solution[:, 0]
    found, y = sums(asked)
    assert float((line[0] * found + line[1] - y).square().mean()) < 1e-10
    assert 0 < view.chance < float(y.square().mean()) * 1.2


@pytest.mark.parametrize("size", [3, 5])
def test_on_a_ring_guessing_knows_the_mean_of_the_others_and_no_more(size: int) -> None:
    """Of k weights 1 / k on n - 1 others, the mean explains 1 / (n - 1) of the variance 1 / k."""
    for hops, k in ((1, 2), (2, 2)):
        task = KnownRange(topology=Ring(), size=size, hops=hops)
        assert task.chance == pytest.approx(1 / k - 1 / (2 * size - 1))


@pytest.mark.parametrize("interaction", INTERACTIONS, ids=said)
@pytest.mark.parametrize("kernel", [KERNELS[0], KERNELS[1], KERNELS[7]], ids=said)
def test_chance_is_what_least_squares_on_all_that_a_set_shows_leaves_open(kernel: dict[str, Any], interaction: Any) -> None:
    """A regression, for each degree of the node, on what it makes of itself and of the others of each degree, summed."""
    task = KnownRange(topology=Path(tail=0), size=6, hops=2, **interaction, **kernel)
    block = task.draw(30_000, stream("test"))
    x, y = block.x.double(), block.y.double()
    if task.interaction == "cosine":
        x = x / x.norm(dim=2, keepdim=True)
    degrees = torch.bincount(block.edge_index[0])
    left = torch.zeros(len(x), dtype=torch.double)
    for d in degrees.unique():
        asked = [i for i, v in enumerate(block.readout_index.tolist()) if degrees[v] == d]
        rows = []
        for i in asked:
            v = int(block.readout_index[i])
            pairs = {"copy": x[:, :, 0], "distance": (x - x[:, v : v + 1]).abs()[:, :, 0]}.get(
                task.interaction, (x * x[:, v : v + 1]).sum(2)
            )
            others = [pairs[:, (degrees == e) & (torch.arange(7) != v)].sum(1) for e in degrees.unique()]
            rows.append(torch.stack([pairs[:, v], *others, torch.ones(len(x))], 1))
        inputs, targets = torch.cat(rows), torch.cat([y[:, i] for i in asked])
        weight = torch.linalg.lstsq(inputs, targets[:, None], driver="gelsd").solution  # what a node makes of itself may be 0
        left += (targets - (inputs @ weight)[:, 0]).square().view(len(asked), -1).sum(0) / len(block.readout_index)
    assert task.chance == pytest.approx(float(left.mean()), abs=4 * float(left.std()) / 30_000**0.5)


def test_the_energy_of_long_range_spins() -> None:
    task = KnownRange(topology=Torus(width=6), size=6, kernel="decay", exponent=2.6, hops=6, interaction="product", values="spin")
    block = task.draw(50, stream("test"))
    assert set(block.x.unique().tolist()) == {-1, 1}
    flipped = block.x.clone().neg()  # a global flip leaves every energy as it was
    again = flipped[:, :, 0].double() * (flipped[:, :, 0].double() @ task.weights().T)
    assert torch.allclose(again.float(), block.y, atol=1e-5)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"exponent": 1.0}, "exponent: must be 0 for the kernel 'hop', which does not fall, got 1.0"),
        ({"kernel": "exponential"}, "exponent: must not be 0 for the kernel 'exponential', which is 'decay' then, got 0.0"),
        ({"loops": False}, "loops: belongs to the kernel 'power', leave it out; got False"),
        ({"channels": 2}, "channels: must be 1 for the interaction 'copy', got 2"),
        ({"interaction": "cosine", "values": "spin"}, "values: must be normal for the interaction 'cosine', of spins 'product'"),
        ({"topology": Path(tail=0), "size": 1024}, "size: must give at most 1024 nodes, 1024 on a path gives 1025"),
        ({"topology": Ring(), "size": 4, "hops": 5}, "hops: must be <= 4 on a ring of size 4, got 5"),
        ({"topology": CliqueChain(), "size": 4}, "size: taken as the topology's hops; hops: must be odd"),
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
    blind = known_range._blind(weights, asked, known_range._graph(task.topology, task.size).edge_index)
    found = []
    for number in range(24):
        block = task.draw(size, stream("luck", number))
        guess = task._answers(block.x.double(), blind, asked)
        found.append(float((guess - block.y).square().mean()))
    assert sum(found) / len(found) == pytest.approx(task.chance, rel=0.02)
    assert min(found) > task.chance * (1 - LEAK)
