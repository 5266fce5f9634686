"""What the columns of an encoding are, by NetworkX, PyG or a closed form, and what is drawn anew for each sample."""

import networkx as nx
import numpy as np
import pytest
import torch
from oracles import same, with_random_biases
from pydantic import ValidationError
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.transforms import AddRandomWalkPE
from torch_geometric.utils import to_undirected

from suite.models import build, resolve
from suite.models.node_encodings import (
    NODE_ENCODINGS,
    Laplacian,
    Random,
    RandomWalk,
    SignInvariant,
    SignNet,
    load_encoding,
    random_frames,
    resolve_encoding,
)
from suite.rng import stream

GRAPHS = {
    "ring": nx.cycle_graph(12),
    "tree": nx.balanced_tree(2, 4),
    "star": nx.star_graph(9),
    "complete": nx.complete_graph(6),
    "random": nx.connected_watts_strogatz_graph(15, 4, 0.4, seed=1),
    "in parts": nx.disjoint_union_all([nx.cycle_graph(5), nx.path_graph(4), nx.empty_graph(2)]),
}


def drawn(encoding: object, graph: nx.Graph, num_graphs: int = 3, seed: int = 0) -> Tensor:
    edges = to_undirected(torch.tensor(list(graph.edges)).T, num_nodes=len(graph))
    return encoding.draw(edges, len(graph), num_graphs, stream("test", seed))  # type: ignore[attr-defined]


def laplacian_of(graph: nx.Graph) -> np.ndarray:
    return nx.normalized_laplacian_matrix(graph, nodelist=range(len(graph))).toarray()


# Laplacian eigenvectors


@pytest.mark.parametrize("kind", GRAPHS)
def test_columns_are_eigenvectors_in_order_without_those_of_zero(kind: str) -> None:
    graph = GRAPHS[kind]
    values = np.linalg.eigvalsh(laplacian_of(graph))[nx.number_connected_components(graph) :]
    width = len(graph) + 3
    for columns in drawn(Laplacian(width=width), graph).numpy():
        found = columns[:, : len(values)]
        assert np.allclose(laplacian_of(graph) @ found, found * values, atol=1e-9)
        assert np.allclose(found.T @ found, np.eye(len(values)), atol=1e-9)
        assert not columns[:, len(values) :].any()  # there are no more


def test_nothing_of_a_component_is_left_in_them() -> None:
    """Dropping one trivial vector only would leave one that names a component."""
    graph = GRAPHS["in parts"]
    columns = drawn(Laplacian(width=8), graph)[0].numpy()
    for component in nx.connected_components(graph):
        nodes = sorted(component)
        weight = np.sqrt([graph.degree[node] for node in nodes])
        assert np.allclose(weight @ columns[nodes], 0, atol=1e-9)
    assert not columns[9:].any()  # the isolated nodes


def test_the_ring_has_double_eigenvalues_and_its_basis_is_drawn_for_every_sample() -> None:
    """C_12 has five double eigenvalues: projections on eigenspaces repeat, columns do not, and signs alone do not explain it."""
    one, other, third = drawn(Laplacian(width=11), GRAPHS["ring"], 3)
    for start in range(0, 10, 2):
        spaces = [columns[:, start : start + 2] for columns in (one, other, third)]
        assert torch.allclose(spaces[0] @ spaces[0].T, spaces[1] @ spaces[1].T)
        assert not torch.allclose(spaces[0].abs(), spaces[1].abs(), atol=1e-3)
    assert torch.allclose(one[:, 10].abs(), other[:, 10].abs())  # the alternating vector is simple


def test_the_eleven_vectors_of_a_tree_are_any_eleven() -> None:
    graph = GRAPHS["tree"]
    values = np.linalg.eigvalsh(laplacian_of(graph))[1:]
    ones = np.flatnonzero(np.isclose(values, 1))
    assert len(ones) == 11
    width = int(ones[0]) + 4  # cuts the eigenspace: what is left is a random subspace of it
    cut = drawn(Laplacian(width=width), graph, 2)[:, :, ones[0] :]
    assert not torch.allclose(cut[0] @ cut[0].T, cut[1] @ cut[1].T, atol=1e-3)
    whole = drawn(Laplacian(width=30), graph, 2)[:, :, ones]
    assert torch.allclose(whole[0] @ whole[0].T, whole[1] @ whole[1].T)


def test_no_column_names_a_node_of_a_ring() -> None:
    """Whatever the basis, on average over samples all nodes of a vertex-transitive graph look alike."""
    columns = drawn(Laplacian(width=8), GRAPHS["ring"], 4000)
    assert columns.mean(0).abs().max() < 0.02  # signs: 1 / sqrt(4000 * 12) is a standard error of 0.005
    assert columns.square().mean(0).sub(1 / 12).abs().max() < 0.01


def test_one_stream_one_draw() -> None:
    for encoding in (Laplacian(), Random()):
        one, again, other = (drawn(encoding, GRAPHS["random"], 5, seed) for seed in (0, 0, 1))
        assert torch.equal(one, again)
        assert not torch.allclose(one, other)
        assert not torch.allclose(one[0], one[1])  # nor do the samples of a block repeat each other


def test_random_frames_have_the_distribution_of_haar() -> None:
    """Entries of a Haar frame have mean 0 and variance 1 / size; a QR decomposition alone would fix the signs of its diagonal."""
    frames = random_frames(20000, 3, 2, stream("test"))
    assert torch.allclose(frames.mT @ frames, torch.eye(2).double().expand(20000, 2, 2), atol=1e-9)
    assert frames.mean(0).abs().max() < 0.02
    assert frames.square().mean(0).sub(1 / 3).abs().max() < 0.02


# SignNet


@pytest.mark.parametrize("replicas", [None, 3])
def test_sign_net_cannot_tell_a_sign(replicas: int | None) -> None:
    torch.manual_seed(0)
    net = SignInvariant(4, 8, 5).double()
    for parameter in net.parameters() if replicas else ():
        parameter.data = torch.stack([parameter.data * (1 + r) for r in range(replicas or 0)])
    columns = torch.randn(*([replicas] if replicas else []), 7, 4, dtype=torch.float64)
    out = net(columns)
    assert out.shape == (*columns.shape[:-1], 5)
    assert torch.allclose(net(columns * torch.tensor([1, -1, -1, 1])), out)
    assert not torch.allclose(net(columns.flip(-1)), out)
    assert not torch.allclose(net(2 * columns), out)


def test_a_model_behind_sign_net_equals_a_loop_over_nodes_and_columns() -> None:
    """2202.13013: rho(phi(v_1) + phi(-v_1), ..., phi(v_k) + phi(-v_k)) of each node, beside what x was before."""
    torch.manual_seed(1)
    encoding = resolve_encoding("sign_net", {"width": 4, "hidden": 5, "channels": 3})
    model = with_random_biases(build(resolve("gcn", {"norm": "none"}), 2 + 4, 8, 2, 3, encoding))
    edges = to_undirected(torch.tensor(list(GRAPHS["random"].edges)).T)
    (columns,), x = drawn(load_encoding(encoding), GRAPHS["random"], 1), torch.randn(15, 2, dtype=torch.float64)
    x = torch.cat([x, columns], dim=1).requires_grad_()
    phi, rho, rows = model.front.phi, model.front.rho, []
    for row in x:
        even = []
        for entry in row[2:]:
            signs = [(phi.first.weight[:, 0] * sign * entry + phi.first.bias).clamp(min=0) for sign in (1, -1)]
            even.append(sum(phi.second.weight @ one + phi.second.bias for one in signs))
        inner = (rho.first.weight @ torch.cat(even) + rho.first.bias).clamp(min=0)
        rows.append(torch.cat([row[:2], rho.second.weight @ inner + rho.second.bias]))
    same(model(x, edges), model.inner(torch.stack(rows), edges), x, model)


def test_sign_net_reads_the_columns_of_the_laplacian() -> None:
    assert torch.equal(drawn(SignNet(width=5), GRAPHS["random"]), drawn(Laplacian(width=5), GRAPHS["random"]))
    front = SignNet(width=5, channels=3).front()
    assert front(torch.zeros(4, 5)).shape == (4, 3)


# random walks


@pytest.mark.parametrize("kind", ["ring", "tree", "complete", "random"])
def test_return_probabilities_are_those_of_pyg(kind: str) -> None:
    graph = GRAPHS[kind]
    edges = to_undirected(torch.tensor(list(graph.edges)).T)
    expected = AddRandomWalkPE(6, attr_name="pe")(Data(edge_index=edges, num_nodes=len(graph))).pe
    (found,) = drawn(RandomWalk(width=6), graph)
    assert torch.allclose(found.float(), expected, atol=1e-6)


@pytest.mark.parametrize(
    "graph",
    [nx.cycle_graph(9), nx.petersen_graph(), nx.complete_graph(5), nx.circular_ladder_graph(5)],
    ids=lambda g: str(len(g)),
)
def test_they_are_equal_at_all_nodes_of_a_vertex_transitive_graph(graph: nx.Graph) -> None:
    (found,) = drawn(RandomWalk(), graph)
    assert torch.allclose(found, found[:1].expand_as(found))


@pytest.mark.parametrize("graph", [nx.cycle_graph(10), nx.balanced_tree(2, 3), nx.grid_2d_graph(3, 4)])
def test_odd_steps_never_return_on_bipartite_graphs(graph: nx.Graph) -> None:
    (found,) = drawn(RandomWalk(), nx.convert_node_labels_to_integers(graph))
    assert not found[:, 0::2].any()
    assert (found[:, 1::2] > 0).all()


def test_isolated_nodes_return_nowhere() -> None:
    (found,) = drawn(RandomWalk(), GRAPHS["in parts"])
    assert not found[9:].any()


# the control, and all of them


@pytest.mark.parametrize("size", [20, 5])
def test_random_features_are_orthonormal_and_as_wide(size: int) -> None:
    for columns in drawn(Random(width=8), nx.path_graph(size)):
        kept = min(size, 8)
        assert torch.allclose((columns.T @ columns)[:kept, :kept], torch.eye(kept).double(), atol=1e-9)
        assert not columns[:, kept:].any()


@pytest.mark.parametrize("name", NODE_ENCODINGS)
def test_shapes_and_references(name: str) -> None:
    ref = resolve_encoding(name, {"width": 6})
    encoding = load_encoding(ref)
    assert encoding.model_dump(mode="json") == ref.settings
    assert drawn(encoding, GRAPHS["random"], 4).shape == (4 if encoding.redrawn else 1, 15, 6)
    assert encoding.refusal(encoding.max_nodes) is None
    assert f"at most {encoding.max_nodes:,} nodes" in str(encoding.refusal(encoding.max_nodes + 1))


def test_unknown_names_and_widths_are_refused() -> None:
    with pytest.raises(ValueError, match="no encoding of nodes is called 'laplace'"):
        resolve_encoding("laplace")
    with pytest.raises(ValidationError, match="greater than or equal to 1"):
        resolve_encoding("random", {"width": 0})


# how far an encoding reads


@pytest.mark.parametrize("steps", [1, 2, 5, 8, 16])
def test_a_random_walk_reads_half_its_steps_far(steps: int) -> None:
    """The end of a path, which a walk cannot pass, changes the columns of nodes up to so many hops away, and of none beyond.

    Not its own: a walk that is turned back there is at its start as often as one on a line that goes on.
    """
    encoding, far = RandomWalk(width=steps), 24
    short, long = (drawn(encoding, nx.path_graph(size))[0, :far] for size in (far, 3 * far))  # 24 nodes and 72
    changed = (short != long).any(1).flip(0).nonzero().flatten().tolist()  # hops to the end of the short one
    assert changed == list(range(1, encoding.pe_reach + 1))


def test_eigenvectors_read_the_whole_graph_and_random_columns_none_of_it() -> None:
    assert (Laplacian().pe_reach, SignNet().pe_reach, Random().pe_reach) == (None, None, 0)
    ring, cut = nx.cycle_graph(30), nx.path_graph(30)  # without the edge 29 - 0
    ours, other = (drawn(Random(), graph) for graph in (ring, cut))
    assert torch.equal(ours, other)
    ours, other = (drawn(Laplacian(width=29), graph)[:, 15] for graph in (nx.path_graph(30), nx.path_graph(31)))
    assert not torch.allclose(ours.abs(), other.abs())
