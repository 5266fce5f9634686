"""Models whose layers are steps of a differential equation: against PyG, loops from the papers, and what theory says of them."""

import math

import networkx as nx
import pytest
import torch
from oracles import DIRECTED, GRAPHS, operators, same, with_random_biases
from test_engine import PATHS, TASKS, assert_equal_on_a_path
from torch import Tensor, nn
from torch_geometric.data import Data
from torch_geometric.nn import AntiSymmetricConv, GCNConv
from torch_geometric.utils import to_undirected

from suite.measures.squashing import influence
from suite.models import build, resolve
from suite.models.adgn import ADGN
from suite.models.dynamics import Antisymmetric, Dynamics
from suite.models.graphcon import GraphCON
from suite.models.phdgn import PHDGN, Energy
from suite.models.swan import SWAN
from suite.operators import GraphOperators

NAMES = ["adgn", "graphcon", "swan", "phdgn"]
LOLLIPOP = to_undirected(torch.tensor(list(nx.lollipop_graph(4, 3).edges)).T)  # seven nodes, degrees 1 to 4


def made(cls: type[Dynamics], num_layers: int, seed: int, **settings: object) -> nn.Module:
    torch.manual_seed(seed)
    return with_random_biases(cls(6, 5, num_layers, 3, **settings))


def features(num_nodes: int) -> Tensor:
    return torch.randn(num_nodes, 6, dtype=torch.float64, requires_grad=True)


@GRAPHS
def test_adgn_equals_pygs(graph: tuple[Tensor, int]) -> None:
    ours = made(ADGN, 4, seed=0, epsilon=0.3, gamma=0.2)
    twin, x = AntiSymmetricConv(5, num_iters=4, epsilon=0.3, gamma=0.2).double(), features(graph[1])
    twin.W, twin.bias, twin.phi.lin.weight = (
        ours.steps[0].own.weight,
        ours.steps[0].own.bias,
        ours.steps[0].neighbours.weight,
    )
    same(ours(x, graph[0]), ours.decoder(twin(ours.encoder(x), graph[0])), x, ours)


def test_weights_begin_as_pygs() -> None:
    torch.manual_seed(1)
    weight = Antisymmetric(400).weight.detach()
    assert weight.abs().max().item() == pytest.approx(1 / 20, rel=1e-3)
    assert weight.std().item() == pytest.approx(1 / 20 / math.sqrt(3), rel=1e-2)


def test_eigenvalues_of_antisymmetric_maps_have_the_decay_as_real_part() -> None:
    torch.manual_seed(2)
    lin = Antisymmetric(7, decay=0.3).double()
    found = torch.linalg.eigvals(lin.matrix)
    torch.testing.assert_close(found.real, torch.full((7,), -0.3, dtype=torch.float64))
    assert found.imag.abs().max() > 0.1


@GRAPHS
def test_graphcon_equals_the_recursion_around_pygs_gcn(graph: tuple[Tensor, int]) -> None:
    ours, x = made(GraphCON, 3, seed=3, dt=0.4, alpha=0.7, gamma=0.9), features(graph[1])
    place = speed = ours.encoder(x)
    for step in ours.steps:
        conv = GCNConv(5, 5).double()
        conv.lin.weight, conv.bias = step.lin.weight, step.lin.bias
        speed = speed + 0.4 * (conv(place, graph[0]).relu() - 0.9 * place - 0.7 * speed)
        place = place + 0.4 * speed
    same(ours.encode(x, graph[0])[-1], torch.cat([place, speed], dim=1), x)
    same(ours(x, graph[0]), ours.decoder(place), x, ours)


def test_graphcon_with_all_constants_one_is_a_gcn() -> None:
    ours, x = made(GraphCON, 3, seed=4, dt=1.0, alpha=1.0, gamma=1.0), features(7)
    op, h = GraphOperators(LOLLIPOP, 7, torch.float64), ours.encoder(x)
    for step in ours.steps:
        h = step.lin(op.gcn(h)).relu()
    torch.testing.assert_close(ours(x, LOLLIPOP), ours.decoder(h))


def test_energy_of_graphcon_does_not_decay_where_that_of_gcn_does() -> None:
    """Random weights on the 10 x 10 grid, 100 layers: figure 1 of 2303.10993, as log10 of the Dirichlet energy's decay."""
    grid = nx.convert_node_labels_to_integers(nx.grid_2d_graph(10, 10))
    edge_index, x = to_undirected(torch.tensor(list(grid.edges)).T), torch.rand(100, 6, dtype=torch.float64)

    def decay(name: str, settings: dict[str, object]) -> float:
        torch.manual_seed(5)
        hidden = build(resolve(name, settings), 6, 16, 100, 3).double().encode(x, edge_index)
        first, last = ((h[edge_index[0], :16] - h[edge_index[1], :16]).square().sum().item() for h in (hidden[1], hidden[-1]))
        return math.log10(last / first)

    assert decay("gcn", {"norm": "none"}) < -20
    assert decay("graphcon", {}) > -1


@GRAPHS
def test_swan_equals_a_loop_over_edges(graph: tuple[Tensor, int]) -> None:
    """The update of 2405.01009 with antisymmetric V and symmetric Z; S with loops."""
    (edge_index, num_nodes), ours = graph, made(SWAN, 2, seed=6, epsilon=0.3, gamma=0.2, beta=0.7)
    step, x = ours.steps[0], features(num_nodes)
    v, z = step.neighbours.weight, step.across.weight
    smoothed, h = operators(graph).gcn(torch.eye(num_nodes, dtype=torch.float64)), ours.encoder(x)
    into, out = (torch.bincount(end, minlength=num_nodes).double() for end in (edge_index[1], edge_index[0]))
    for _ in range(2):
        rows = []
        for node in range(num_nodes):
            asked = (step.own.weight - step.own.weight.T - 0.2 * torch.eye(5).double()) @ h[node] + step.own.bias
            asked = asked + (v - v.T) @ (smoothed[node] @ h)
            for source in edge_index[0, edge_index[1] == node].tolist():
                asked = asked + 0.7 * (1 / into[node] - 1 / out[source]) * ((z + z.T) @ h[source])
            rows.append(h[node] + 0.3 * asked.tanh())
        h = torch.stack(rows)
    same(ours(x, edge_index), ours.decoder(h), x, ours)


def test_swan_is_antisymmetric_over_the_whole_graph_less_its_decay_and_adgn_is_not() -> None:
    h, op = torch.randn(7, 5, dtype=torch.float64), GraphOperators(LOLLIPOP, 7, torch.float64)

    def symmetric_part(model: nn.Module) -> Tensor:
        step = model.steps[0]
        jacobian = torch.autograd.functional.jacobian(lambda h: step.own(h) + step._received(h, op), h).view(35, 35)
        return (jacobian + jacobian.T) / 2

    eye = torch.eye(35, dtype=torch.float64)
    torch.testing.assert_close(symmetric_part(made(SWAN, 1, seed=7, gamma=0.2, beta=2.0)), -0.2 * eye)
    assert (symmetric_part(made(ADGN, 1, seed=7, gamma=0.2)) + 0.2 * eye).abs().max() > 0.1


def test_the_spatial_term_of_swan_vanishes_on_a_ring_and_not_on_a_lollipop() -> None:
    ours, x = made(SWAN, 1, seed=8), features(7)
    ring = to_undirected(torch.stack([torch.arange(7), torch.arange(1, 8) % 7]))
    for edge_index, vanishes in ((ring, True), (LOLLIPOP, False)):
        (gradient,) = torch.autograd.grad(ours(x, edge_index).sum(), ours.steps[0].across.weight)
        assert bool((gradient.abs() < 1e-14).all()) == vanishes


def hamiltonian(energy: Energy, h: Tensor, smooth: Tensor) -> Tensor:
    """The sum of log cosh(W h_v + V (S h)_v + b), as the paper defines it."""
    asked = h @ energy.own.weight.T + smooth @ h @ energy.neighbours.weight.T + energy.own.bias
    return asked.cosh().log().sum()


def test_steps_of_phdgn_are_those_of_its_hamiltonian() -> None:
    ours, x = made(PHDGN, 3, seed=9, epsilon=0.2), features(7)
    step, smooth = ours.steps[0], GraphOperators(LOLLIPOP, 7, torch.float64).gcn(torch.eye(7, dtype=torch.float64))
    p = q = ours.encoder(x)
    states = [torch.cat([p, q], dim=1)]
    for _ in range(3):
        (force,) = torch.autograd.grad(hamiltonian(step.potential, q, smooth), q, create_graph=True)
        p = p - 0.2 * force
        (speed,) = torch.autograd.grad(hamiltonian(step.kinetic, p, smooth), p, create_graph=True)
        q = q + 0.2 * speed
        states.append(torch.cat([p, q], dim=1))
    for found, expected in zip(ours.encode(x, LOLLIPOP), states, strict=True):
        same(found, expected, x)
    same(ours(x, LOLLIPOP), ours.decoder(states[-1]), x, ours)


@GRAPHS
def test_the_energy_of_phdgn_equals_a_loop_over_nodes(graph: tuple[Tensor, int]) -> None:
    torch.manual_seed(10)
    energy = with_random_biases(Energy(5))
    h = torch.randn(graph[1], 5, dtype=torch.float64, requires_grad=True)
    op, smooth = operators(graph), operators(graph).gcn(torch.eye(graph[1], dtype=torch.float64))
    slope = [
        (energy.own.weight @ h[v] + energy.neighbours.weight @ (smooth[v] @ h) + energy.own.bias).tanh() for v in range(len(h))
    ]
    rows = []
    for v in range(len(h)):
        received = sum((smooth[v, u] * slope[u] for u in range(len(h))), torch.zeros(5).double())
        rows.append(energy.own.weight.T @ slope[v] + energy.neighbours.weight.T @ received)
    same(energy(h, op, op), torch.stack(rows), h, energy)


def test_phdgn_conserves_its_hamiltonian_up_to_an_error_of_first_order() -> None:
    smooth = GraphOperators(LOLLIPOP, 7, torch.float64).gcn(torch.eye(7, dtype=torch.float64))
    torch.manual_seed(11)
    x = features(7)

    def drift(num_layers: int, epsilon: float) -> float:
        ours = made(PHDGN, num_layers, seed=11, epsilon=epsilon)
        step, energies = ours.steps[0], []
        for state in ours.encode(x, LOLLIPOP):
            p, q = state.chunk(2, 1)
            energies.append((hamiltonian(step.kinetic, p, smooth) + hamiltonian(step.potential, q, smooth)).item())
        return max(abs(energy - energies[0]) for energy in energies) / energies[0]

    coarse, fine = drift(100, 0.04), drift(400, 0.01)
    assert fine < 0.01
    assert coarse / fine == pytest.approx(4, rel=0.3)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("num_layers", [1, 2])
def test_reach_is_one_hop_a_step_and_four_with_energies_that_couple_neighbours(name: str, num_layers: int) -> None:
    torch.manual_seed(12)
    model, reach = build(resolve(name), 4, 16, num_layers, 5).eval(), num_layers * (4 if name == "phdgn" else 1)
    path = to_undirected(torch.stack([torch.arange(9), torch.arange(1, 10)]))
    found = influence(model, [Data(x=torch.randn(10, 4), edge_index=path, readout_index=torch.tensor([0]))])[0]
    assert model.reach == reach
    assert (found.x[0] > 0).nonzero().flatten().tolist() == list(range(reach + 1))


@pytest.mark.parametrize("task", ["ring", "barbell", "published ring", "published tree"])
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shared", [False, True])
def test_with_every_shortcut_it_is_the_plain_model(name: str, task: str, shared: bool) -> None:
    assert_equal_on_a_path(name, {"shared": shared}, TASKS[task](4), 3, 5, set(PATHS))


@pytest.mark.parametrize("name", NAMES)
def test_layers_share_weights_or_not(name: str) -> None:
    count = {shared: len(build(resolve(name, {"shared": shared}), 6, 5, 4, 3).steps) for shared in (False, True)}
    assert count == {False: 4, True: 1}
    assert resolve(name).settings["shared"] == (name != "graphcon")
    assert len(build(resolve(name), 6, 5, 0, 3).encode(torch.ones(6, 6), DIRECTED)) == 1


@pytest.mark.parametrize("gamma", [0.0, 0.3])
def test_without_neighbours_the_dynamics_of_adgn_neither_explode_nor_vanish_but_for_gamma(gamma: float) -> None:
    """Of dh/dt = tanh((W - W^T - gamma I) h + b), by autograd: real parts of eigenvalues are between -gamma and 0."""
    step = made(ADGN, 1, seed=12, gamma=gamma).steps[0]
    h = torch.randn(5, dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(lambda h: step.own(h).tanh(), h)
    real = torch.linalg.eigvals(jacobian).real
    assert real.max() < (1e-12 if gamma == 0 else 0)
    assert real.min() > -gamma - 1e-12
