"""docs/measures.md from the docstrings: `python -m suite.measures.page` prints it."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

from suite import measures
from suite.measures import FURTHER, MEASURES

PURE: dict[str, tuple[str, ...]] = {
    "Over-smoothing: energies": (
        "rayleigh_quotient",
        "expected_rayleigh_quotient",
        "dirichlet_energy",
        "fixed_space_distance",
        "component_distances",
        "feature_norm",
        "signals_as_states",
    ),
    "Over-smoothing: ranks": ("ranks",),
    "Over-smoothing: angles and classes": (
        "mean_average_distance",
        "mean_cosine",
        "mad_gap",
        "group_distance_ratio",
    ),
    "Over-smoothing: the diffusion limit": (
        "diffusion",
        "diffusion_limit",
        "decay_rate",
    ),
    "Over-smoothing: what can be read": ("recoverability", "half_epsilon"),
    "Over-squashing: the Jacobian": (
        "influence",
        "influence_by_hop",
    ),
    "Over-squashing: large graphs": ("influence_profile",),
    "Over-squashing: shares and ranges": (
        "shares",
        "routing_gain",
        "influence_range",
        "all_resistances",
        "absolute_influence",
        "total_influence",
        "signal_to_interference",
        "obstruction",
    ),
    "Over-squashing: the edge-free twin": ("aggregation_gain",),
    "Over-squashing: mixing": ("mixing",),
    "Gradients": (
        "backward_states",
        "gradient_norms",
    ),
    "Layers": (
        "layer_spectrum",
        "layer_gain",
    ),
    "Structure: operators": (
        "propagation_matrix",
        "operator_power",
        "skipping_power",
        "effective_resistance",
        "spectral_gap",
    ),
    "Structure: distances": ("hop_distance",),
    "Structure: ways between nodes": (
        "shell_sizes",
        "walk_counts",
        "shortest_path_counts",
        "edge_cuts",
        "vertex_cuts",
        "commute_time",
        "wl_classes",
    ),
    "Structure: the whole graph": (
        "total_resistance",
        "cheeger",
    ),
    "Structure: curvature": ("curvature",),
    "Rewirings": ("way",),
}
"""The measures under each heading, which are of one module."""

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
    return [getattr(measures, name) for names in PURE.values() for name in names]


def page() -> str:
    """Return docs/measures.md."""
    parts = [HEAD, "## What a run measures\n"]
    for name, entry in MEASURES.items():
        parts.append(f"### `{name}`, version {entry.version}\n\n{inspect.getdoc(entry.run)}\n")
    parts.append("## What a diagnosis takes besides\n")
    for name, entry in FURTHER.items():
        parts.append(f"### `{name}` (diagnosis)\n\n{inspect.getdoc(entry.run)}\n")
    for title, names in PURE.items():
        module = module_of(names[0])
        parts.append(f"## {title}\n\n{(module.__doc__ or '').strip()}\n")
        for name in names:
            found = getattr(measures, name)
            head = f"### `{module.__name__}.{name}`\n\n```python\n{name}{_signature(found)}\n```\n"
            parts.append(f"{head}\n{inspect.getdoc(found)}\n")
    return "\n".join(parts)


def module_of(name: str) -> ModuleType:
    """Return the module that measure `name` is written in."""
    return sys.modules[getattr(measures, name).__module__]


def _signature(function: Callable[..., Any]) -> str:
    return str(inspect.signature(function)).replace("'", "").replace("torch.", "")


if __name__ == "__main__":
    print(page(), end="")
