"""The hop profile of influence on large graphs: random probes, with error bars."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch_geometric.data import Data

from suite.measures.colours import Asked, by_colour, colour, sees
from suite.measures.draws import hops_of, readouts_of
from suite.measures.frozen import Frozen
from suite.measures.structure import sum_by_hop
from suite.rng import stream


class HopProfile(NamedTuple):
    """Squared influence by hop k = 0, 1, ..., each [num_readouts, num_hops] but for `estimator`.

    Attributes:
        squares: sum of |J_vu|^2 (Frobenius) over the nodes u that are k hops from read-out node v.
        errors: standard errors of `squares`; 0 where they are exact.
        pairs: how many nodes are k hops away.
        estimator: "exact", or "probes" for Hutchinson's.
    """

    squares: Tensor
    errors: Tensor
    pairs: Tensor
    estimator: Literal["exact", "probes"]


def influence_profile(model: nn.Module, graph: Data, num_probes: int = 16, rng: torch.Generator | None = None) -> HopProfile:
    """Return the squared influence of each shell on the read-out nodes, [num_readouts, num_hops], of very large graphs.

    With z ~ N(0, I) over the outputs of v, E |z^T J_vu|^2 = |J_vu|^2, so sums over shells are unbiased, too; the standard
    error is that of the mean over `num_probes` probes, and falls as 1 / sqrt(num_probes). Models with no more outputs than
    that are asked for each: exact, error 0. Float64, eval mode. A built-in model of finite reach runs on the nodes in reach
    only, with the whole graph's degrees.

    Derivatives and hops are those of `influence`: by the task's own features, in the task's own graph. Columns end at the
    farthest node in declared reach. Zero: no dependence, exactly, in both estimators; but a norm below 1e-162 has no square.
    `rng` is where probes come from, or a fixed stream. Not scale-free. Cost: `num_probes` backward passes at most. Pitfall:
    squares add up to Frobenius norms over shells, so that a root of them is not the sum of norms that `influence_by_hop` gives.
    (Hutchinson, 1989)

    Raises ValueError for a graph without `readout_index`, and unless `num_probes` >= 2, below which there is no error bar.
    """
    if num_probes < 2:
        raise ValueError(f"num_probes: must be >= 2 for a standard error, got {num_probes}")
    frozen, readouts, rng = Frozen(model), readouts_of(graph), rng or stream("influence", "profile")
    seen = sees(readouts, graph.edge_index, torch.zeros(int(graph.num_nodes or 0), dtype=torch.long), frozen.reach)
    hops = hops_of(graph).where(seen, -1)
    num_hops, exact = 1 + int(hops.max()), False
    squares, errors = torch.zeros(2, readouts.numel(), num_hops, dtype=torch.float64)
    for asked in by_colour(frozen, frozen.join([graph]), readouts, seen, colour(seen)):
        exact = asked.output.size(1) <= num_probes
        directions = _directions(asked.rows.numel(), asked.output.size(1), exact, num_probes, rng)
        shells = hops[asked.chosen][:, asked.nodes]
        passes = torch.stack([sum_by_hop(_squares(asked, z), shells, num_hops) for z in directions])
        squares[asked.chosen] = passes.sum(0) if exact else passes.mean(0)
        errors[asked.chosen] = 0 if exact else passes.std(0) / num_probes**0.5
    pairs = sum_by_hop(torch.ones_like(hops), hops, num_hops)
    return HopProfile(squares, errors, pairs, "exact" if exact else "probes")


def _squares(asked: Asked, direction: Tensor) -> Tensor:
    """Return |z^T J_vu|^2 for the z of each read-out node, a row of `direction`: [num_chosen, num_rows]."""
    cotangent = torch.zeros_like(asked.output).index_put((asked.rows,), direction)
    (gradient,) = torch.autograd.grad(asked.output, asked.x, cotangent, retain_graph=True)
    return gradient.square().sum(1).expand(direction.size(0), -1)


def _directions(num_readouts: int, out_channels: int, exact: bool, num_probes: int, rng: torch.Generator) -> Tensor:
    """Return the weights of the outputs, pass by pass: [num_passes, num_readouts, out_channels]."""
    if exact:
        return torch.eye(out_channels, dtype=torch.float64).unsqueeze(1).expand(-1, num_readouts, -1)
    return torch.randn(num_probes, num_readouts, out_channels, generator=rng, dtype=torch.float64)
