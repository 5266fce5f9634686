"""Rows that compare influence: all nodes of a ring against two ways a PyG user has, and one large graph for itself."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.utils import grid

from benchmarks import plain
from benchmarks.harness import Line, Say, at_least, at_most, in_child, in_turn, peak_gib, ratios, spread
from datasets.ring import Ring
from suite.measures import squashing
from suite.measures.profile import influence_profile
from suite.models import build, resolve

CHANNELS, WIDTH, OUT = 16, 32, 16  # 16 outputs: `influence` is exact up to there
GCN = resolve("gcn", {"norm": "layer", "skip": "residual"})


def ring_graph(hops: int = 128) -> Data:
    """Return a ring of 2 * hops nodes with random features, every node a read-out."""
    graph = Ring().graph(hops).clone()
    graph.x = torch.randn(2 * hops, CHANNELS, generator=torch.Generator().manual_seed(0))
    graph.readout_index = torch.arange(2 * hops)
    return graph


def autograd_loop(model: torch.nn.Module, graph: Data) -> Tensor:
    """Return |d out_v / d x_u| [num_nodes, num_nodes] as a user writes it: a backward pass for every output of every node."""
    x = graph.x.clone().requires_grad_()
    out = model(x, graph.edge_index, torch.zeros(x.size(0), dtype=torch.long))
    rows = []
    for node in range(x.size(0)):
        square = torch.zeros(x.size(0), dtype=x.dtype)
        for value in out[node]:
            (gradient,) = torch.autograd.grad(value, x, retain_graph=True)
            square += gradient.square().sum(1)
        rows.append(square.sqrt())
    return torch.stack(rows)


def loop_seconds(num_layers: int) -> float:
    graph = ring_graph()
    model = plain.twin(GCN, CHANNELS, WIDTH, num_layers, OUT).eval()
    start = time.process_time()
    autograd_loop(model, graph)
    return time.process_time() - start


def pyg_seconds(num_layers: int) -> float:
    """Return the CPU seconds of PyG's `total_influence`: L1, summed over the hops of a graph cut out around each node."""
    from torch_geometric.utils import total_influence

    graph = ring_graph()
    model = plain.twin(GCN, CHANNELS, WIDTH, num_layers, OUT).eval()
    whole = _Alone(model)
    start = time.process_time()
    total_influence(whole, graph, max_hops=num_layers, num_samples=graph.num_nodes)
    return time.process_time() - start


class _Alone(torch.nn.Module):
    """Calls a model as `total_influence` does, with one graph and no `batch`."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        out: Tensor = self.model(x, edge_index, torch.zeros(x.size(0), dtype=torch.long))
        return out


def our_seconds(num_layers: int) -> float:
    """Return the CPU seconds of `influence`, in float64 and of inputs and first hidden states alike."""
    graph = ring_graph()
    model = build(GCN, CHANNELS, WIDTH, num_layers, OUT).eval()
    start = time.process_time()
    squashing.influence(model, [graph])
    return time.process_time() - start


@dataclass(frozen=True)
class AllNodes:
    """Influence on every node of a ring of 256 nodes, 16 layers."""

    title: str = "influence, ring 256"
    num_layers: int = 16

    def run(self, rounds: int, say: Say) -> list[Line]:
        sides = {"a loop": loop_seconds, "PyG": pyg_seconds, "ours": our_seconds}
        taken = in_turn({name: partial(in_child, side, self.num_layers) for name, side in sides.items()}, rounds, say)
        targets = {"a loop": 10, "PyG": 3}
        return [at_least(f"{self.title}, over {name}", t, ratios(taken[name], taken["ours"])) for name, t in targets.items()]


def profile_cost(rows: int, columns: int) -> tuple[float, float]:
    """Return the seconds of a profile of a GCN with 8 layers on a grid, and the peak memory of the process in GiB."""
    edge_index, _ = grid(rows, columns)
    x = torch.randn(rows * columns, CHANNELS, generator=torch.Generator().manual_seed(0))
    graph = Data(x=x, edge_index=edge_index, readout_index=torch.tensor([rows * columns // 2]))
    model = build(GCN, CHANNELS, WIDTH, 8, OUT).eval()
    start = time.perf_counter()
    influence_profile(model, graph)
    return time.perf_counter() - start, peak_gib()


@dataclass(frozen=True)
class LargeGraph:
    """Influence by hop on a grid of 100,000 nodes, 8 layers, width 32."""

    title: str = "influence profile, 100,000 nodes"
    rows: int = 250
    columns: int = 400

    def run(self, rounds: int, say: Say) -> list[Line]:
        titles = self.title, "the same, peak memory"
        say("a profile by hop")
        found = [in_child(profile_cost, self.rows, self.columns) for _ in range(rounds)]
        seconds, peaks = zip(*found, strict=True)
        return [at_most(titles[0], 60, spread(seconds), "s"), at_most(titles[1], 6, spread(peaks), "GiB")]


INFLUENCE: dict[str, AllNodes | LargeGraph] = {"influence": AllNodes(), "influence-large": LargeGraph()}
