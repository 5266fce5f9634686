"""Co-GNN against a loop over nodes, and what its decisions are."""

import pytest
import torch
import torch.nn.functional as F
from oracles import GRAPHS, operators, same, with_random_biases
from test_engine import PATHS, TASKS, assert_equal_on_a_path
from torch import Tensor, nn
from torch_geometric.data import Data
from torch_geometric.nn import SAGEConv
from torch_geometric.utils import to_undirected

from suite.measures.squashing import influence
from suite.models import build, resolve
from suite.models.cognn import Action, CoGNN
from suite.testing import check_model


def made(num_layers: int, **settings: object) -> nn.Module:
    torch.manual_seed(0)
    model = with_random_biases(CoGNN(6, 5, num_layers, 3, **{"norm": "none"} | settings))
    return model.eval()


@GRAPHS
def test_states_equal_a_loop_over_nodes_in_value_and_gradient(graph: tuple[Tensor, int]) -> None:
    """Decisions are steps; what autograd is told of them is the sigmoid's derivative (straight through)."""
    (edge_index, num_nodes), model = graph, made(3, action_layers=2, temperature=0.7)
    x = torch.randn(num_nodes, 6, dtype=torch.float64, requires_grad=True)
    hidden = model.encode(x, edge_index)
    h, decided = model.encoder(x), set()
    for environment, found in zip(model.environments, hidden[1:], strict=True):
        first, second = model.action[0].convs
        logits = twin(second)(twin(first)(h, edge_index).relu(), edge_index)
        soft = 1 / (1 + (-logits / 0.7).exp())
        listens, broadcasts = ((logits > 0).double() + soft - soft.detach()).unbind(1)
        rows = []
        for v in range(num_nodes):
            neighbours = edge_index[0, edge_index[1] == v].tolist()
            heard = [listens[v] * broadcasts[u] * h[u] for u in neighbours]
            mean = sum(heard, torch.zeros(5).double()) / max(1, len(neighbours))
            out = environment.lin_self.weight @ h[v] + environment.lin_self.bias + environment.lin_neighbour.weight @ mean
            rows.append(h[v] + out.relu())
        h = torch.stack(rows)
        same(found, h, x)
        decided |= set(map(tuple, (logits > 0).tolist()))
    same(model(x, edge_index), model.decoder(h), x, model)
    assert len(decided) > 1


def twin(ours: nn.Module) -> nn.Module:
    conv = SAGEConv(*ours.lin_self.weight.T.shape).double()
    conv.lin_l.weight, conv.lin_l.bias, conv.lin_r.weight = (
        ours.lin_neighbour.weight,
        ours.lin_neighbour.bias,
        ours.lin_self.weight,
    )
    return conv


@pytest.mark.parametrize(("listens", "broadcasts"), [(1, 1), (1, -1), (-1, 1)])
@GRAPHS
def test_where_all_listen_and_broadcast_it_is_graphsage_and_else_graph_blind(
    graph: tuple[Tensor, int], listens: int, broadcasts: int
) -> None:
    (edge_index, num_nodes), model = graph, made(2)
    model.action[0].convs[-1].lin_neighbour.bias.data = 1000.0 * torch.tensor([listens, broadcasts]).double()
    x = torch.randn(num_nodes, 6, dtype=torch.float64, requires_grad=True)
    h, edges = model.encoder(x), edge_index if listens == broadcasts else edge_index[:, :0]
    for environment in model.environments:
        conv = SAGEConv(5, 5).double()
        conv.lin_r.weight, conv.lin_l.weight, conv.lin_l.bias = (
            environment.lin_self.weight,
            environment.lin_neighbour.weight,
            environment.lin_self.bias,
        )
        h = h + conv(h, edges).relu()
    same(model(x, edge_index), model.decoder(h), x, model.environments, model.decoder, model.encoder)


def test_decisions_while_training_have_the_law_of_gumbel_softmax() -> None:
    """Of 20,000 nodes without edges, one in 1 / (1 + exp(-logit)) decides for it, whatever the temperature."""
    torch.manual_seed(1)
    action, empty = Action(4, 1, temperature=0.3).double(), operators((torch.empty(2, 0).long(), 20_000))
    h = torch.randn(1, 4, dtype=torch.float64).expand(20_000, 4)
    logits = action.convs[0].lin_self(h[:1])[0]
    found = action(h, empty)
    assert found.detach().unique().tolist() == [0, 1]
    torch.testing.assert_close(found.detach().mean(0), logits.detach().sigmoid(), rtol=0, atol=4 * 0.5 / 20_000**0.5)
    pairs = torch.stack([logits, torch.zeros_like(logits)], dim=-1).expand(20_000, 2, 2)
    theirs = F.gumbel_softmax(pairs, tau=0.3, hard=True)[..., 0]
    torch.testing.assert_close(found.detach().mean(0), theirs.detach().mean(0), rtol=0, atol=4 * 0.75 / 20_000**0.5)
    assert action.eval()(h, empty).unique(dim=0).tolist() == [(logits > 0).tolist()]


def test_the_mean_derivative_of_decisions_is_that_of_gumbel_softmax() -> None:
    torch.manual_seed(2)
    action, empty = Action(1, 1, temperature=0.7).double(), operators((torch.empty(2, 0).long(), 40_000))
    h = torch.full((40_000, 1), 0.8, dtype=torch.float64, requires_grad=True)
    (ours,) = torch.autograd.grad(action(h, empty)[:, 0].sum(), h)
    logit = (0.8 * action.convs[0].lin_self.weight[0, 0]).detach().expand(40_000).clone().requires_grad_()
    soft = F.gumbel_softmax(torch.stack([logit, torch.zeros_like(logit)], dim=1), tau=0.7, hard=True)[:, 0]
    (theirs,) = torch.autograd.grad(soft.sum(), logit)
    expected = theirs.mean() * action.convs[0].lin_self.weight[0, 0].detach()
    torch.testing.assert_close(ours.mean(), expected, rtol=0.03, atol=0)


@pytest.mark.parametrize("action_layers", [1, 2])
def test_a_layer_reaches_a_neighbour_and_what_its_decision_depends_on(action_layers: int) -> None:
    torch.manual_seed(3)
    model = build(resolve("cognn", {"action_layers": action_layers}), 4, 16, 2, 5).eval()
    nn.init.constant_(model.action[0].convs[-1].lin_neighbour.bias, 5.0)  # where neither listens nor broadcasts, no derivative is
    path = to_undirected(torch.stack([torch.arange(9), torch.arange(1, 10)]))
    found = influence(model, [Data(x=torch.randn(10, 4), edge_index=path, readout_index=torch.tensor([0]))])[0]
    assert model.reach == 2 * (action_layers + 1)
    assert (found.x[0] > 0).nonzero().flatten().tolist() == list(range(model.reach + 1))


@pytest.mark.parametrize("task", ["ring", "barbell", "published ring", "published tree"])
@pytest.mark.parametrize("action_layers", [1, 3])
def test_with_every_shortcut_it_is_the_plain_model(action_layers: int, task: str) -> None:
    assert_equal_on_a_path("cognn", {"action_layers": action_layers, "norm": "none"}, TASKS[task](4), 3, 5, set(PATHS))


@pytest.mark.parametrize("settings", [{"norm": "batch"}, {"norm": "pair"}, {"action_layers": 2}])
def test_settings_keep_the_contract(settings: dict[str, object]) -> None:
    check_model(resolve("cognn", settings))


def test_impossible_settings_are_refused() -> None:
    with pytest.raises(ValueError, match=r"action_layers must be >= 1 .* got 0 and 1.0"):
        CoGNN(6, 5, 2, 3, action_layers=0)
