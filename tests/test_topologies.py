"""Facts about the synthetic families: graphs by their names in NetworkX, sizes by formula, distances by its BFS."""

import re
from collections.abc import Callable
from pathlib import Path

import networkx as nx
import pytest
import torch
from torch_geometric.data import Data
from torch_geometric.utils import to_dense_adj, to_networkx

from datasets import TOPOLOGIES
from datasets.altered import Decoyed, Noisy, Padded
from datasets.attachment_tree import AttachmentTree
from datasets.barabasi_albert import BarabasiAlbert
from datasets.barbell import Barbell
from datasets.caterpillar import Caterpillar
from datasets.circular_ladder import CircularLadder
from datasets.clique import Clique
from datasets.clique_chain import CliqueChain
from datasets.clique_path import CliquePath
from datasets.crossed_ring import CrossedRing
from datasets.expander import Expander
from datasets.grid import Grid
from datasets.layered import Layered
from datasets.network import Network
from datasets.path import Path as PathTopology
from datasets.pruned_grid import PrunedGrid
from datasets.random_caterpillar import RandomCaterpillar
from datasets.random_tree import RandomTree
from datasets.ring import Ring
from datasets.theta import Theta
from datasets.topologies import read_topology, write_topology
from datasets.torus import Torus
from datasets.tree import Tree
from suite.cell import TaskRef
from suite.task import Topology

FAMILIES = [
    Ring(),
    CrossedRing(),
    CliquePath(clique_size=4),
    CliquePath(clique_size=2, extra=3),
    Tree(),
    Tree(arity=3, extra=1),
    Barbell(clique_size=5),
    Barbell(clique_size=5, bridges=4),
]
STAR = """
import torch
from typing import Literal
from torch_geometric.data import Data
from torch_geometric.utils import to_undirected
from suite.task import Topology

class Star(Topology):
    kind: Literal["star"] = "star"
    leaves: int = 4

    def build(self, hops):
        leaf = torch.arange(1, self.leaves + 1)
        edge_index = to_undirected(torch.stack([torch.zeros_like(leaf), leaf]))
        return Data(edge_index=edge_index, num_nodes=self.leaves + 1, readout_index=leaf[:1] * 0, source_index=leaf[:1])
"""


def graph_of(topology: Topology, hops: int) -> nx.Graph:
    return to_networkx(topology.build(hops), to_undirected=True)


def operator(graph: Data) -> torch.Tensor:
    """D^-1/2 (A + I) D^-1/2 in float64."""
    a = to_dense_adj(graph.edge_index, max_num_nodes=graph.num_nodes)[0].double() + torch.eye(graph.num_nodes)
    return a / (a.sum(0)[:, None] * a.sum(0)).sqrt()


def share(topology: Topology, hops: int) -> float:
    graph = topology.build(hops)
    power = torch.linalg.matrix_power(operator(graph), hops)
    return float(power[graph.readout_index, graph.source_index])


@pytest.mark.parametrize("bridges", [1, 2, 3])
def test_barbell_is_cut_by_its_bridges(bridges: int) -> None:
    size, inner = 5, 2
    topology = Barbell(clique_size=size, bridges=bridges)
    graph = graph_of(topology, inner + 3)
    assert graph.number_of_nodes() == 2 * size + bridges * inner
    assert graph.number_of_edges() == size * (size - 1) + bridges * (inner + 1)
    data = topology.build(inner + 3)
    assert nx.edge_connectivity(graph, int(data.readout_index), int(data.source_index)) == bridges
    cliques = [set(range(size)), set(range(graph.number_of_nodes() - size, graph.number_of_nodes()))]
    assert all(graph.subgraph(c).size() == size * (size - 1) // 2 for c in cliques)


@pytest.mark.parametrize(
    ("topology", "degree"),
    [(CliquePath(), 1), (CliquePath(extra=1), 2), (Tree(arity=3), 1), (Tree(arity=3, extra=1), 4), (CrossedRing(), 2)],
    ids=repr,
)
def test_what_goes_on_behind_the_source_gives_it_an_ordinary_degree(topology: Topology, degree: int) -> None:
    data = topology.build(4)
    assert to_networkx(data, to_undirected=True).degree[int(data.source_index)] == degree


@pytest.mark.parametrize("hops", [3, 5, 8])
def test_share_of_the_source_has_its_closed_form(hops: int) -> None:
    k, w, b = 6, 2, hops - 3
    assert share(Ring(), hops) == pytest.approx(2 / 3**hops, rel=1e-9)
    tied = CliquePath(clique_size=hops - 1)
    assert share(tied, hops) == pytest.approx(1 / (hops * (2 * (hops - 1)) ** 0.5 * 3 ** (hops - 2)), rel=1e-9)
    barbell = Barbell(clique_size=k, bridges=w)
    assert share(barbell, hops) == pytest.approx(w / (k * (k + 1) ** 2 * 3**b), rel=1e-9)
    assert share(Tree(), hops) == pytest.approx(4.0 ** -(hops - 2) / 96**0.5, rel=1e-9)


@pytest.mark.parametrize(
    ("topology", "hops", "allowed"),
    [
        (Ring(), 1, ">= 2 on a ring, got 1"),
        (Ring(), 0, ">= 2 on a ring, got 0"),
        (CliquePath(), 1, ">= 2 on a clique_path, got 1"),
        (Barbell(), 2, ">= 3 on a barbell, got 2"),
        (Tree(), 0, ">= 1 on a tree, got 0"),
        (Clique(), 2, "must be 1 on a clique, got 2"),
        (Tree(), 40, "depth 40 has more than 131,072 nodes, got 40"),
    ],
    ids=repr,
)
def test_distances_a_family_does_not_have_are_refused(topology: Topology, hops: int, allowed: str) -> None:
    with pytest.raises(ValueError, match=f"hops: .*{allowed}"):
        topology.graph(hops)


def test_bridges_leave_room_for_read_out_and_source() -> None:
    with pytest.raises(ValueError, match="bridges: must be < clique_size = 4, got 4"):
        Barbell(clique_size=4, bridges=4)


@pytest.mark.parametrize("topology", [*FAMILIES, Clique(), Network(name="ky4_water")], ids=repr)
def test_a_topology_is_written_and_read_back(topology: Topology) -> None:
    assert read_topology(write_topology(topology)) == topology


def test_the_page_on_topologies_has_them_all_and_no_other() -> None:
    page = (Path(__file__).parents[1] / "docs" / "topologies.md").read_text(encoding="utf-8")
    assert sorted(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)) == sorted(TOPOLOGIES)


# The page's cell, a topology, two distances, and n and m by that cell's formulas.
SIZES: dict[str, tuple[str, Topology, tuple[int, int], Callable[[int], tuple[float, float]]]] = {
    "path": (
        "r + 2 tail + 1, n − 1",
        PathTopology(tail=3),
        (2, 5),
        lambda r: ((n := r + 2 * 3 + 1), n - 1),
    ),
    "ring": (
        "2r, 2r",
        Ring(),
        (2, 5),
        lambda r: (2 * r, 2 * r),
    ),
    "crossed_ring": (
        "2r, 4r − 4",
        CrossedRing(),
        (2, 5),
        lambda r: (2 * r, 4 * r - 4),
    ),
    "circular_ladder": (
        "4r, 6r",
        CircularLadder(),
        (2, 5),
        lambda r: (4 * r, 6 * r),
    ),
    "theta": (
        "2 + p(r − 1), pr",
        Theta(paths=3),
        (2, 5),
        lambda r: (2 + 3 * (r - 1), 3 * r),
    ),
    "layered": (
        "2 + w(r − 1), 2w + (r − 2)w²",
        Layered(width=3),
        (2, 5),
        lambda r: (2 + 3 * (r - 1), 2 * 3 + (r - 2) * 3**2),
    ),
    "grid": (
        "width w × columns c, w(c − 1) + c(w − 1); c = r − i + 1 + extra, i = min(w − 1, ⌊r/2⌋)",
        Grid(width=4, extra=2),
        (3, 9),
        lambda r: (4 * (c := r - min(3, r // 2) + 1 + 2), 4 * (c - 1) + c * 3),
    ),
    "torus": (
        "width · 2(r − ⌊width/2⌋), 2n",
        Torus(width=5),
        (4, 7),
        lambda r: ((n := 5 * 2 * (r - 5 // 2)), 2 * n),
    ),
    "tree": (
        "(aᵈ⁺¹ − 1)/(a − 1), n − 1; d = r + extra",
        Tree(arity=3, extra=1),
        (1, 3),
        lambda r: ((n := (3 ** (r + 1 + 1) - 1) // 2), n - 1),
    ),
    "caterpillar": (
        "(r + 2 tail + 1)(1 + legs · joints), n − 1",
        Caterpillar(legs=2, joints=3, tail=1),
        (1, 4),
        lambda r: ((n := (r + 2 * 1 + 1) * (1 + 2 * 3)), n - 1),
    ),
    "clique_path": (
        "k + r − 1 + extra, k(k − 1)/2 + r − 1 + extra",
        CliquePath(clique_size=5, extra=2),
        (2, 6),
        lambda r: (5 + r - 1 + 2, 5 * 4 / 2 + r - 1 + 2),
    ),
    "clique_chain": (
        "ks, ks(s − 1)/2 + k − 1; k = (r + 1)/2",
        CliqueChain(clique_size=4),
        (3, 7),
        lambda r: ((k := (r + 1) / 2) * 4, k * 4 * 3 / 2 + k - 1),
    ),
    "barbell": (
        "2k + w(r − 3), k(k − 1) + w(r − 2)",
        Barbell(clique_size=5, bridges=2),
        (3, 6),
        lambda r: (2 * 5 + 2 * (r - 3), 5 * 4 + 2 * (r - 2)),
    ),
    "clique": (
        "2k, k(2k − 1)",
        Clique(clique_size=4),
        (1, 1),
        lambda _: (2 * 4, 4 * 7),
    ),
    "expander": (
        "num_nodes, degree · n / 2",
        Expander(degree=3, num_nodes=50),
        (2, 4),
        lambda _: (50, 3 * 50 / 2),
    ),
    "attachment_tree": (
        "num_nodes, n − 1",
        AttachmentTree(num_nodes=40),
        (1, 5),
        lambda _: (40, 40 - 1),
    ),
    "barabasi_albert": (
        "num_nodes, attached (n − attached)",
        BarabasiAlbert(num_nodes=40, attached=2),
        (1, 3),
        lambda _: (40, 2 * (40 - 2)),
    ),
    "padded": (
        "num_nodes, of a tree n − 1",
        Padded(topology=Tree(), num_nodes=40),
        (2, 4),
        lambda _: (40, 40 - 1),
    ),
    "decoyed": (
        "as the one altered and its pendants: on a theta d(r − 1)(p − 2) for d <= p",
        Decoyed(topology=Theta(paths=4), decoys=3),
        (2, 5),
        lambda r: (2 + 4 * (r - 1) + 3 * (r - 1) * (4 - 2), 4 * r + 3 * (r - 1) * (4 - 2)),
    ),
    "noisy": (
        "as the one altered, and num_edges more",
        Noisy(topology=Tree(extra=1), num_edges=3),
        (2, 3),
        lambda r: ((n := 2 ** (r + 2) - 1), n - 1 + 3),
    ),
    "random_tree": ("num_nodes, n − 1", RandomTree(num_nodes=20), (1, 2), lambda _: (20, 19)),
    "random_caterpillar": ("num_nodes, n − 1", RandomCaterpillar(num_nodes=20, joints=2), (1, 2), lambda _: (20, 19)),
    "pruned_grid": ("num_nodes, ⌊4(7n/4 − 4)/5⌉, or n − 1", PrunedGrid(num_nodes=40), (1, 2), lambda _: (40, 53)),
}
UNSIZED = {  # what the draw or the file leaves
    *("chorded_line", "erdos_renyi", "network", "of_diameter", "random_geometric", "stochastic_blockmodel", "subnetwork"),
}


@pytest.mark.parametrize("kind", sorted(TOPOLOGIES.keys() - UNSIZED))
def test_the_page_on_topologies_counts_nodes_and_edges_as_they_are_built(kind: str) -> None:
    page = (Path(__file__).parents[1] / "docs" / "topologies.md").read_text(encoding="utf-8")
    said, topology, distances, counts = SIZES[kind]
    assert re.search(rf"^\| `{kind}` \| (.*?) \|", page, re.MULTILINE)[1] == said  # type: ignore[index]
    assert topology.kind == kind
    for hops in distances:
        graph = topology.graph(hops)
        assert (graph.num_nodes, graph.num_edges / 2) == counts(hops)


@pytest.mark.parametrize("kind", sorted(TOPOLOGIES))
def test_a_name_alone_names_the_defaults(kind: str) -> None:
    assert read_topology(kind) == TOPOLOGIES[kind]()
    assert read_topology({"kind": kind}).kind == kind


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("rings", "no topology is called 'rings'. Did you mean 'ring'\\? Known: .*barbell, "),
        ({"kind": "barbell", "bridge": 2}, "topology 'barbell': bridge: .* got 2"),
        ({"kind": "barbell", "bridges": 9}, "topology 'barbell': bridges: must be < clique_size = 8, got 9"),
        ({"kind": "tree", "arity": 1}, "topology 'tree': arity: .*greater than or equal to 2, got 1"),
        ({"arity": 2}, "a table with 'kind'"),
        (3, "a topology is a name, .* got 3"),
        ("datasets.ring:Rung", "datasets.ring has no 'Rung'; it has: Ring"),
        ("no_such_module:Ring", "cannot be loaded"),
        ("no_such_file.py:Ring", "cannot be loaded"),
        ("datasets.own_token:OwnToken", "not a suite.task.Topology"),
    ],
)
def test_what_is_no_topology_is_refused_by_saying_what_would_be_one(given: object, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        read_topology(given)


def test_a_strangers_topology_travels_by_file_and_digest(tmp_path: Path) -> None:
    from datasets.transfer import Transfer

    file = tmp_path / "star.py"
    file.write_text(STAR)
    task = Transfer(topology={"kind": f"{file}:Star", "leaves": 3}, hops=1)
    ref = TaskRef(ref="datasets.transfer:Transfer", params=task.config(), version=1)
    again = ref.load()
    assert again == task
    assert again.draw(2, torch.Generator()).num_nodes == 4
    changed = {**task.config()["topology"], "sha256": "0" * 64}
    with pytest.raises(ValueError, match="changed"):
        read_topology(changed)
