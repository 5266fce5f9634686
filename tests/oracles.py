"""What tests of layers share: small graphs of every kind, and equality of values and of all gradients to nine digits."""

import pytest
import torch
from torch import Tensor, nn
from torch_geometric.nn import SimpleConv
from torch_geometric.utils import erdos_renyi_graph

from suite.operators import GraphOperators

DIRECTED = torch.tensor([[0, 1, 2, 2, 4, 5, 5, 3, 3], [1, 2, 0, 3, 3, 4, 0, 3, 1]])  # with a self-loop, 5 has no in-edge
MULTI = torch.tensor([[0, 1, 0, 1, 1, 2, 2, 3], [1, 0, 1, 0, 2, 1, 3, 2]])  # one edge twice


def graphs() -> list[tuple[Tensor, int]]:
    torch.manual_seed(0)
    return [(erdos_renyi_graph(15, 0.25), 15), (DIRECTED, 6), (MULTI, 4)]


GRAPHS = pytest.mark.parametrize("graph", graphs(), ids=["random", "directed", "multi-edges"])


def operators(graph: tuple[Tensor, int]) -> GraphOperators:
    return GraphOperators(graph[0], graph[1], torch.float64)


def with_random_biases(module: nn.Module) -> nn.Module:
    """Zero biases would hide one that is missing, or in the wrong place."""
    for name, parameter in module.double().named_parameters():
        if "bias" in name:
            nn.init.normal_(parameter)
    return module


def gcn_propagated(x: Tensor, edge_index: Tensor) -> Tensor:
    """S x node by node: over the in-neighbours and the node itself, each by 1 / sqrt of the product of degrees with loops."""
    degree = [1 + int((edge_index[1] == i).sum()) for i in range(len(x))]
    out = [x[i] / degree[i] for i in range(len(x))]
    for j, i in edge_index.T.tolist():
        out[i] = out[i] + x[j] / (degree[i] * degree[j]) ** 0.5
    return torch.stack(out)


def give(module: nn.Module, **tensors: Tensor) -> None:
    """Put `tensors`, made of our parameters, in the place of the module's: gradients then reach ours through any twin."""
    for name, tensor in tensors.items():
        delattr(module, name)
        setattr(module, name, tensor)


def same(found: Tensor, expected: Tensor, *over: Tensor | nn.Module) -> None:
    """Assert that two ways to compute one function of `over` agree to nine digits, in value and in every gradient.

    A module stands for all of its parameters. What one of the ways does not depend on is a fault, a gradient of 0 is not.
    """
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
    named = {
        f"{index} {name}": tensor
        for index, one in enumerate(over)
        for name, tensor in (one.named_parameters() if isinstance(one, nn.Module) else [("", one)])
    }
    weight = torch.randn_like(found)
    ours, theirs = (
        torch.autograd.grad((out * weight).sum(), list(named.values()), retain_graph=True) for out in (found, expected)
    )
    torch.testing.assert_close(dict(zip(named, ours, strict=True)), dict(zip(named, theirs, strict=True)), rtol=1e-9, atol=1e-9)


class Means(nn.Module):
    """`num_layers` times the mean over neighbours and self."""

    def __init__(self, num_layers: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList(SimpleConv("mean", combine_root="self_loop") for _ in range(num_layers))

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        for conv in self.convs:
            x = conv(x, edge_index)
        return x
