"""Raw energies with their norms, each component by itself, and what bare diffusion leaves: beside the quotients by layer."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch_geometric.data import Data
from torch_geometric.utils import is_undirected

from suite.measures.draws import as_json, averaged, draw_diagnosed
from suite.measures.frozen import Frozen
from suite.measures.limits import DIFFUSIONS, diffusion, diffusion_limit
from suite.measures.smoothing import RAYLEIGH, component_distances, dirichlet_energy
from suite.rng import stream
from suite.task import Task

MAX_NODES = 4096  # of all graphs together


def run(model: nn.Module, task: Task, seed: int) -> dict[str, Any]:
    """The entry `energies` of a diagnosis, by layer 0..L, means over `num_graphs` draws, up to 8.

    Keys: `energy_gcn`, `energy_mean`, `energy_complete`, Dirichlet energies, and `norm_*`, the norms that make quotients of them;
    `component_least_*` and `component_most_*`, the smallest and the largest distance of a connected component to the fixed space
    of the declared operator, of gcn and of mean where none is declared; `diffusion_gcn`, `diffusion_mean`, how far x is from its
    limit after as many steps of the bare operator, over its norm (of undirected graphs).
    """
    frozen, rng = Frozen(model), stream(task.config(), seed, "measure", "energies")
    parts = [_of_graph(frozen, graph) for graph in draw_diagnosed(task, seed, MAX_NODES, rng)]
    return as_json(averaged(parts) | {"num_graphs": len(parts)})


def _of_graph(frozen: Frozen, graph: Data) -> dict[str, Any]:
    hidden, edges = frozen.run([graph]).hidden, graph.edge_index
    found: dict[str, Any] = {}
    for operator in RAYLEIGH:
        energies = [dirichlet_energy(h, edges, operator) for h in hidden]
        found[f"energy_{operator}"] = torch.stack([energy.energy for energy in energies])
        found[f"norm_{operator}"] = torch.stack([energy.norm for energy in energies])
    spaces: Any = [frozen.operator] if frozen.operator in (*RAYLEIGH, "sum") else DIFFUSIONS
    for operator in spaces:
        distances = torch.stack([component_distances(h, edges, operator) for h in hidden])
        found[f"component_least_{operator}"] = distances.nan_to_num(torch.inf).amin(1)
        found[f"component_most_{operator}"] = distances.nan_to_num(-torch.inf).amax(1)
    return found | (_bare(graph.x, edges, len(hidden) - 1) if is_undirected(edges, num_nodes=len(graph.x)) else {})


def _bare(x: Tensor, edge_index: Tensor, num_layers: int) -> dict[str, Tensor]:
    found = {}
    for operator in DIFFUSIONS:
        states = diffusion(x, edge_index, operator, num_layers)
        apart = (states - diffusion_limit(x, edge_index, operator)).flatten(1).norm(dim=1)
        found[f"diffusion_{operator}"] = apart / states.flatten(1).norm(dim=1)
    return found
