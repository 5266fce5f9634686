"""Names beside points: each takes the free place nearest its point."""

from __future__ import annotations

import math
from collections.abc import Sequence

from matplotlib.axes import Axes

Box = tuple[float, float, float, float]  # left, bottom, right, top, in points

_ANGLES = (0, 180, 35, 145, -35, -145, 70, 110, -70, -110)  # degrees; nearer places first
OFFSETS = tuple(
    (radius * math.cos(math.radians(angle)), radius * math.sin(math.radians(angle)) - 2.3, abs(angle) < 90)
    for radius in (7, 12, 19, 27, 36, 46)
    for angle in _ANGLES
)  # points; whether the name stands right of the place


def place_names(
    ax: Axes, names: Sequence[tuple[float, float, str, str]], points: Sequence[tuple[float, float]], size: float = 6.5
) -> None:
    """Write each (x, y, text, colour) beside its point, clear of other names and of `points`; a hairline leads far
    ones.

    Call when the axes have their final limits.
    """
    scale = 72 / ax.figure.dpi
    frame = ax.get_window_extent()
    inside: Box = (frame.x0 * scale, frame.y0 * scale, frame.x1 * scale, frame.y1 * scale)
    spots: list[tuple[float, ...]] = [tuple(ax.transData.transform(point) * scale) for point in points]
    taken: list[Box] = []
    for x, y, text, color in sorted(names, key=lambda n: (-n[1], n[0])):
        px, py = ax.transData.transform((x, y)) * scale
        width, height = 0.48 * size * len(text) + 1, size
        boxes = [_box(px + dx, py + dy, width, height, right) for dx, dy, right in OFFSETS]
        costs = [_cost(box, taken, spots, inside) + 0.6 * i for i, box in enumerate(boxes)]
        best = costs.index(min(costs))
        dx, dy, right = OFFSETS[best]
        taken.append(boxes[best])
        far = best >= len(_ANGLES)
        leader = {"arrowstyle": "-", "lw": 0.4, "color": color, "shrinkA": 0, "shrinkB": 4} if far else None
        ax.annotate(
            text,
            (x, y),
            xytext=(dx, dy),
            textcoords="offset points",
            fontsize=size,
            color=color,
            ha="left" if right else "right",
            arrowprops=leader,
            zorder=6,
        )


def _box(x: float, y: float, width: float, height: float, right: bool) -> Box:
    left = x if right else x - width
    return left, y, left + width, y + height


def _cost(box: Box, taken: Sequence[Box], spots: Sequence[tuple[float, ...]], inside: Box) -> float:
    cost = 0.0
    for other in taken:
        wide, high = min(box[2], other[2]) - max(box[0], other[0]), min(box[3], other[3]) - max(box[1], other[1])
        cost += max(wide, 0) * max(high, 0)
    cost += 12 * sum(box[0] - 4 < x < box[2] + 4 and box[1] - 4 < y < box[3] + 4 for x, y in spots)
    return cost + 200 * (box[0] < inside[0] or box[2] > inside[2] + 2 or box[1] < inside[1] or box[3] > inside[3])
