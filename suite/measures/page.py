"""docs/measures.md from the docstrings: `python -m suite.measures.page` prints it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import ModuleType
from typing import Any

from suite import hops
from suite.measures import (
    FURTHER,
    MEASURES,
    curvature,
    gradients,
    layers,
    limits,
    mixing,
    profile,
    ranks,
    recoverability,
    rewiring,
    shares,
    similarity,
    smoothing,
    spectrum,
    squashing,
    structure,
    ways,
)

PURE: dict[str, tuple[ModuleType, tuple[str, ...]]] = {
    "Over-smoothing: energies": (
        smoothing,
        (
            *("rayleigh_quotient", "expected_rayleigh_quotient", "dirichlet_energy"),
            *("fixed_space_distance", "component_distances", "feature_norm"),
        ),
    ),
    "Over-smoothing: ranks": (ranks, ("ranks",)),
    "Over-smoothing: angles and classes": (
        similarity,
        ("mean_average_distance", "mean_cosine", "mad_gap", "group_distance_ratio"),
    ),
    "Over-smoothing: the diffusion limit": (limits, ("diffusion", "diffusion_limit", "decay_rate")),
    "Over-smoothing: what can be read": (recoverability, ("recoverability", "half_epsilon")),
    "Over-squashing: the Jacobian": (squashing, ("influence", "influence_by_hop")),
    "Over-squashing: large graphs": (profile, ("influence_profile",)),
    "Over-squashing: shares and ranges": (
        shares,
        (
            *("shares", "routing_gain", "influence_range", "all_resistances", "absolute_influence"),
            *("total_influence", "signal_to_interference", "obstruction"),
        ),
    ),
    "Over-squashing: mixing": (mixing, ("mixing",)),
    "Gradients": (gradients, ("backward_states", "gradient_norms")),
    "Layers": (layers, ("layer_spectrum", "layer_gain")),
    "Structure: operators": (structure, ("propagation_matrix", "operator_power", "effective_resistance", "spectral_gap")),
    "Structure: distances": (hops, ("hop_distance",)),
    "Structure: ways between nodes": (
        ways,
        (
            *("shell_sizes", "walk_counts", "shortest_path_counts", "edge_cuts", "vertex_cuts"),
            *("commute_time", "wl_classes"),
        ),
    ),
    "Structure: the whole graph": (spectrum, ("total_resistance", "cheeger")),
    "Structure: curvature": (curvature, ("curvature",)),
    "Rewirings": (rewiring, ("way",)),
}

HEAD = """# Measures

Every measure is a plain function on hidden states, norms or edges, for any PyG model; what each says, what its zero means,
what it costs and where it misleads is below, as in its docstring. Numbers like 2302.02941 are arXiv ids. A model's hidden
states come from its `encode`, or from hooks on its PyG convolutions: `suite.diagnose` (see [diagnose.md](diagnose.md))
takes them and measures all that applies. To add one: [architecture.md](architecture.md).

Rules that hold for all: float64, on a copy in eval mode; encodings and rewirings held as they are, since they depend on
edges alone; a ratio without a denominator is NaN and never 0; initial and trained model are both measured.

![Diffusion and its two limits](diffusion.svg)

*Seven nodes, a clique of four with a path of three, one random feature each. Means over neighbours and self (left) bring all
nodes to one value; GCN's operator (middle) brings them to multiples of the root of their degree, which differ for ever. Right:
distance to each fixed space. Held against the other's, a state that has collapsed looks healthy.*

Drawn by `python -c "from reports.figures import limits; limits.write('docs/diffusion.svg')"`.
"""


def functions() -> list[Callable[..., Any]]:
    """Return every measure of the page, in its order."""
    return [getattr(module, name) for module, names in PURE.values() for name in names]


def page() -> str:
    """Return docs/measures.md."""
    parts = [HEAD, "## What a run measures\n"]
    for name, entry in MEASURES.items():
        parts.append(f"### `{name}`, version {entry.version}\n\n{inspect.getdoc(entry.run)}\n")
    parts.append("## What a diagnosis takes besides\n")
    for name, entry in FURTHER.items():
        parts.append(f"### `{name}` (diagnosis)\n\n{inspect.getdoc(entry.run)}\n")
    for title, (module, names) in PURE.items():
        parts.append(f"## {title}\n\n{(module.__doc__ or '').strip()}\n")
        for name in names:
            found = getattr(module, name)
            head = f"### `{module.__name__}.{name}`\n\n```python\n{name}{_signature(found)}\n```\n"
            parts.append(f"{head}\n{inspect.getdoc(found)}\n")
    return "\n".join(parts)


def _signature(function: Callable[..., Any]) -> str:
    return str(inspect.signature(function)).replace("'", "").replace("torch.", "")


if __name__ == "__main__":
    print(page(), end="")
