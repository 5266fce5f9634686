"""The diffusion limit: where states go when one operator is applied again and again, and how fast.

Means over neighbours and self drive rows to *equality*; D~^-1/2 A~ D~^-1/2, GCN's operator, drives them to multiples of
sqrt(d~), which stay different for ever on an irregular graph. Held against the other's fixed space, each fully collapsed state
looks healthy.
"""

from __future__ import annotations

import torch
from scipy.sparse import csr_array
from torch import Tensor

from suite.measures.smoothing import fixed_space, project
from suite.measures.structure import Operator, check_operator, propagation_matrix

DIFFUSIONS: tuple[Operator, ...] = ("gcn", "mean")
MAX_NODES = 4096


def diffusion(x: Tensor, edge_index: Tensor, operator: Operator, num_layers: int) -> Tensor:
    """Return x, Op x, ..., Op^num_layers x of x [num_nodes, channels]: [num_layers + 1, num_nodes, channels] float64.

    Layers of `SGConv` without weights. gcn or mean, with self-loops, so that bipartite graphs do not oscillate. Zero: as of
    x, and not scale-free: linear. Cost: O(layers m channels). (1902.07153) Pitfall: no weights, no biases: trained layers turn
    rows too, and biases move the limit of gcn towards a constant. Raises ValueError for any other operator, which has no limit.
    """
    check_operator(operator, DIFFUSIONS)
    source, target, weight = (part.numpy() for part in propagation_matrix(edge_index, x.size(0), operator))
    matrix = csr_array((weight, (target, source)), shape=(x.size(0), x.size(0)))
    states = [x.double()]
    for _ in range(num_layers):
        states.append(torch.from_numpy(matrix @ states[-1].numpy()))
    return torch.stack(states)


def diffusion_limit(x: Tensor, edge_index: Tensor, operator: Operator) -> Tensor:
    """Return the limit of Op^L x for L to infinity, of x [num_nodes, channels]: [num_nodes, channels] float64.

    On each connected component: sqrt(d~) (sqrt(d~)^T x) / sum d~ (gcn); the mean of x weighted by d~, at every node (mean). Zero:
    where x is orthogonal to what survives. Linear in x, so not scale-free. Cost: O(m). Needs undirected edges. (1801.07606 for
    gcn; 1905.10947) Pitfall: how many layers it takes is `decay_rate`'s to say. Raises ValueError as `diffusion`.
    """
    check_operator(operator, DIFFUSIONS)
    basis, component = fixed_space(edge_index, x.size(0), "gcn")  # sqrt(d~), of length 1 on each component
    if operator == "gcn":
        return project(x.double(), basis, component)
    root = basis.unsqueeze(-1)
    return project(root * x.double(), basis, component) / root  # P~ = D~^-1/2 S D~^1/2


def decay_rate(edge_index: Tensor, num_nodes: int) -> float:
    """Return 2 ln rho, [], the slope per layer of ln(Rayleigh quotient) that linear propagation comes to (1905.10947).

    rho is the largest absolute eigenvalue of D~^-1/2 A~ D~^-1/2 below 1; that of the mean operator is the same. 2 ln((1 + 2
    cos(2 pi / n)) / 3) on a ring of n >= 6, 2 ln(1/2) on a star, minus infinity on a complete graph, whose first layer
    collapses all. Zero: a component has no second eigenvalue below 1 to speak of, and states do not smooth. Scale-free. Cost:
    O(n^3).

    Pitfalls: behind a bottleneck the slope is reached after hundreds of layers; weights, biases and nonlinearities have rates of
    their own. Raises ValueError for more than 4,096 nodes; `spectral_gap(..., self_loops=True)` takes more, and there 1 - gap is
    rho but where the smallest eigenvalue is larger in size.
    """
    if num_nodes > MAX_NODES:
        raise ValueError(f"num_nodes: must be <= {MAX_NODES:,}, got {num_nodes:,}; spectral_gap takes more")
    source, target, weight = propagation_matrix(edge_index, num_nodes, "gcn")
    matrix = torch.zeros(num_nodes, num_nodes, dtype=torch.float64).index_put((target, source), weight, accumulate=True)
    values = torch.linalg.eigvalsh(matrix).abs()
    below = values[values < 1 - 1e-12]
    largest = below.max() if below.numel() else below.new_zeros(())
    return float(2 * torch.where(largest > 1e-12, largest, 0).log())
