"""Measures: what a model does to the information in a graph, as pure functions and as one visible table.

The functions serve any PyG model, or hidden states that come from anywhere, and are imported from here; their modules:

    smoothing       rayleigh_quotient, dirichlet_energy, fixed_space_distance, component_distances, feature_norm,
                    signals_as_states
    ranks           effective, stable and numerical rank, rank-one residual
    similarity      mean_average_distance (MAD), mean_cosine, mad_gap, group_distance_ratio
    limits          diffusion, its limit under means and under GCN's operator, and its rate
    recoverability  recoverability of a node's own token, or of one far away, by a linear probe; half_epsilon
    squashing       influence of every node on the read-out nodes, and by hop
    profile         influence_profile: the same by hop on large graphs, with error bars
    structure       operator_power, skipping_power: what the topology alone brings from a source to a read-out node;
                    effective_resistance, spectral_gap
    ways            shell_sizes, walk_counts, shortest_path_counts, edge_cuts, vertex_cuts, commute_time, wl_classes
    spectrum        total_resistance, cheeger
    hops            suite.hops.hop_distance: shortest paths
    curvature       of edges: balanced Forman, Ollivier-Ricci, augmented Forman
    shares          shares, routing_gain, influence_range, signal_to_interference, absolute_influence, total_influence,
                    obstruction
    twin            aggregation_gain: how much of a total that vanishes is aggregation's doing
    mixing          mixing: second derivatives
    gradients       backward_states, gradient_norms by layer; the smoothing of error signals
    errors          how wrong answers are, in the task's units, and how far away what is asked for lies
    layers          layer_spectrum, layer_gain: singular values of each layer's Jacobian
    rewiring        what a rewiring did to the way from a source to its read-out node
    energies        Dirichlet energies, components and bare diffusion, beside a diagnosis' quotients
    distant         tokens that a diagnosis plants far away
    directions      all singular values of layers' Jacobians, of a diagnosis
    routing         what a few read-outs of a diagnosis feel, beside the influence by hop
    topology        what the graphs of a diagnosis are like, whatever the model

A table entry draws a few graphs of the task's test stream itself and returns JSON values. Everything is float64, on a copy
in eval mode and on whole graphs; the model, its mode and gradients, and global random state stay as they were.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn

from suite.hops import hop_distance
from suite.measures import (
    directions,
    distant,
    energies,
    errors,
    gradients,
    layers,
    rewiring,
    routing,
    similarity,
    smoothing,
    squashing,
    structure,
    topology,
)
from suite.measures.curvature import curvature
from suite.measures.gradients import backward_states, gradient_norms
from suite.measures.layers import layer_gain, layer_spectrum
from suite.measures.limits import decay_rate, diffusion, diffusion_limit
from suite.measures.mixing import mixing
from suite.measures.mixing import run as _run_mixing
from suite.measures.profile import influence_profile
from suite.measures.ranks import ranks
from suite.measures.recoverability import half_epsilon, recoverability
from suite.measures.recoverability import run as _run_recoverability
from suite.measures.rewiring import way
from suite.measures.shares import (
    absolute_influence,
    all_resistances,
    influence_range,
    obstruction,
    routing_gain,
    shares,
    signal_to_interference,
    total_influence,
)
from suite.measures.similarity import group_distance_ratio, mad_gap, mean_average_distance, mean_cosine
from suite.measures.smoothing import (
    component_distances,
    dirichlet_energy,
    expected_rayleigh_quotient,
    feature_norm,
    fixed_space_distance,
    rayleigh_quotient,
    signals_as_states,
)
from suite.measures.spectrum import cheeger, total_resistance
from suite.measures.squashing import influence, influence_by_hop
from suite.measures.structure import effective_resistance, operator_power, propagation_matrix, skipping_power, spectral_gap
from suite.measures.twin import aggregation_gain
from suite.measures.ways import commute_time, edge_cuts, shell_sizes, shortest_path_counts, vertex_cuts, walk_counts, wl_classes
from suite.refs import unknown
from suite.task import Task

__all__ = [
    "FURTHER",
    "MEASURES",
    "Measure",
    "absolute_influence",
    "aggregation_gain",
    "all_resistances",
    "backward_states",
    "cheeger",
    "commute_time",
    "component_distances",
    "curvature",
    "decay_rate",
    "diffusion",
    "diffusion_limit",
    "dirichlet_energy",
    "edge_cuts",
    "effective_resistance",
    "expected_rayleigh_quotient",
    "feature_norm",
    "fixed_space_distance",
    "gradient_norms",
    "group_distance_ratio",
    "half_epsilon",
    "hop_distance",
    "influence",
    "influence_by_hop",
    "influence_profile",
    "influence_range",
    "layer_gain",
    "layer_spectrum",
    "mad_gap",
    "mean_average_distance",
    "mean_cosine",
    "measure",
    "mixing",
    "obstruction",
    "operator_power",
    "propagation_matrix",
    "ranks",
    "rayleigh_quotient",
    "recoverability",
    "routing_gain",
    "shares",
    "shell_sizes",
    "shortest_path_counts",
    "signal_to_interference",
    "signals_as_states",
    "skipping_power",
    "spectral_gap",
    "total_influence",
    "total_resistance",
    "vertex_cuts",
    "walk_counts",
    "way",
    "wl_classes",
]


@dataclass(frozen=True)
class Measure:
    """A table entry: `run(model, task, seed)` returns JSON values, None where a value is not defined.

    Raise `version`, which is part of the result's file name, when the same model would be given other numbers. With `rewired`
    it is taken of cells with a rewiring alone; without `weights` it is the same before and after training. With `whole` it
    takes an output that has no row per node. With `cells` it is for cells of a study alone, whose tasks say what is asked.
    """

    version: int
    run: Callable[[nn.Module, Task, int], dict[str, Any]]
    rewired: bool = False
    weights: bool = True
    whole: bool = False
    cells: bool = False


MEASURES: dict[str, Measure] = {
    "smoothing": Measure(4, smoothing.run),
    "recoverability": Measure(2, _run_recoverability),
    "influence": Measure(3, squashing.run),
    "operator_share": Measure(3, structure.run),
    "gradient": Measure(4, gradients.run, whole=True),
    "layers": Measure(1, layers.run),
    "errors": Measure(1, errors.run, cells=True),
    "rewiring": Measure(2, rewiring.run, rewired=True, weights=False),
}


FURTHER: dict[str, Measure] = {
    "energies": Measure(1, energies.run),
    "groups": Measure(3, similarity.run),
    "far_tokens": Measure(1, distant.run),
    "shares": Measure(4, routing.run),
    "mixing": Measure(3, _run_mixing, whole=True),
    "spectrum": Measure(2, directions.run),
    "topology": Measure(2, topology.run, weights=False),
}
"""Taken by `suite.diagnose` alone, of one model in question: for every cell of a study too dear, or the same again."""


def measure(name: str, task: Task, seed: int, initial: nn.Module, trained: nn.Module) -> dict[str, Any]:
    """Return what measure `name` says of a cell before and after training: {"initial": {...}, "trained": {...}}.

    Raises ValueError, with the nearest known names, where no measure is called `name`.
    """
    if name not in MEASURES:
        raise ValueError(unknown("measure", name, MEASURES))
    run = MEASURES[name].run
    return {"initial": run(initial, task, seed), "trained": run(trained, task, seed)}
