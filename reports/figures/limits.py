"""Two limits of smoothing: what repeated means and what GCN's repeated operator make of the same features.

Its numbers are the same in every report, so they stand in `limits.json`: working them out takes torch, which a report does
without. `write` makes that file, and the figure for the page on measures.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from reports.figures.common import Drawing, number
from reports.style import ACCENT, MUTED, Look, panels, style
from suite.analysis import Analysis

DATA = Path(__file__).with_name("limits.json")
NUM_LAYERS = 40
CLIQUE, TAIL = 4, 3  # nodes
NAMES = {"mean": "Mean over neighbours and self", "gcn": "GCN's operator"}
SPACES = {"mean": "constant", "gcn": "√(d + 1)"}


def drawings(analysis: Analysis, _: dict[str, Look]) -> list[Drawing]:
    """Return the one drawing, where smoothing was measured. It shows no cell: two operators on a graph of seven nodes."""
    if not any("smoothing" in found for found in analysis.results.measures.values()):
        return []
    caption = (
        f"Two limits of smoothing, worked out on a clique of {CLIQUE} nodes with a path of {TAIL}, one random feature each."
        " Left and middle: the feature of every node by layer, no weights; dots: the limit. Means bring all nodes to one value,"
        " GCN's operator to multiples of √(d + 1), which stay different for ever. Right: distance to either fixed space. A state"
        " that has collapsed under one operator looks healthy against the other's space: each model is judged by its own."
    )
    alt = "Line charts of node features by layer under two operators, and of their distances to the two fixed spaces"
    return [Drawing("limits_1", json.loads(DATA.read_text(encoding="utf-8")), draw, caption, alt, "methods")]


def work_out() -> dict[str, Any]:
    """Return what `draw` takes: features by node, their limit and distances, by operator."""
    import networkx as nx
    import torch
    from torch_geometric.utils import from_networkx

    from suite.measures.limits import diffusion, diffusion_limit
    from suite.measures.smoothing import fixed_space_distance
    from suite.rng import stream

    edge_index = from_networkx(nx.lollipop_graph(CLIQUE, TAIL)).edge_index
    x = torch.rand(CLIQUE + TAIL, 1, generator=stream("figure", "limits"), dtype=torch.float64)
    found: dict[str, Any] = {}
    for operator in NAMES:
        states = diffusion(x, edge_index, operator, NUM_LAYERS)  # type: ignore[arg-type]
        distance = {s: fixed_space_distance(states, edge_index, s).tolist() for s in SPACES}  # type: ignore[arg-type]
        found[operator] = {
            "features": [[number(value) for value in row] for row in states[:, :, 0].T.tolist()],
            "limit": [number(value) for value in diffusion_limit(x, edge_index, operator)[:, 0].tolist()],  # type: ignore[arg-type]
            "distance": {space: [number(value) for value in values] for space, values in distance.items()},
        }
    return found


def draw(data: dict[str, Any]) -> Figure:
    """Draw the two diffusions and their distances side by side."""
    figure, grid = panels(1, 3, 38, across=14, bottom=9)
    left, middle, right = grid[0]
    for ax, (operator, name) in zip((left, middle), NAMES.items(), strict=True):
        _features(ax, data[operator], name)
    left.set_ylim(middle.get_ylim())
    left.set_ylabel("Feature of a node")
    right.set_title("Distance to a fixed space, log₁₀", loc="left")
    for operator, color, width in (("mean", ACCENT, 2.4), ("gcn", "black", 1.0)):  # told apart in grey by width
        for space, dashes in (("mean", (0, (1.2, 1.4))), ("gcn", "-")):
            values = np.log10(data[operator]["distance"][space])
            label = f"{'mean' if operator == 'mean' else 'GCN'}, to {SPACES[space]}"
            right.plot(values, color=color, ls=dashes, lw=width, label=label)
    right.set_ylim(-6, 0.2)
    plain = {"frameon": True, "facecolor": "white", "edgecolor": "none", "framealpha": 1}  # no grid line through the words
    right.legend(fontsize=6.5, loc="lower left", handlelength=1.6, borderaxespad=0, **plain)
    for ax in grid[0]:
        ax.set_xlabel("Layer")
        ax.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    return figure


def _features(ax: Axes, found: dict[str, Any], name: str) -> None:
    ax.set_title(name, loc="left")
    for values, limit in zip(found["features"], found["limit"], strict=True):
        ax.plot(values, color=MUTED, lw=0.9)
        ax.plot([NUM_LAYERS + 2], [limit], "o", color=ACCENT, ms=3, clip_on=False)


def write(path: Path | str) -> None:
    """Work out the numbers, keep them in `DATA`, and draw the figure into a file."""
    data = work_out()
    DATA.write_text(json.dumps(data) + "\n", encoding="utf-8")
    with style():
        draw(data).savefig(path, metadata={"Date": None, "Creator": None})
