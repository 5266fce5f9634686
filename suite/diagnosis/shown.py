"""A figure that a notebook shows; imported where one is drawn, for matplotlib is an extra."""

from __future__ import annotations

import io

from matplotlib.figure import Figure


class Shown(Figure):
    """Shows itself where it ends a cell, whether or not pyplot, which teaches notebooks to show figures, was imported."""

    def _repr_png_(self) -> bytes:
        image = io.BytesIO()
        self.savefig(image, format="png", dpi=144)
        return image.getvalue()
