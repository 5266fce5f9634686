"""The page of measures is what the docstrings say, and the docstrings say what they must."""

import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from suite import measures
from suite.measures.page import PURE, functions, module_of, page

PAGE = Path(__file__).parents[1] / "docs" / "measures.md"
SOURCE = re.compile(r"\d{4}\.\d{5}|\b(18|19|20)\d\d\)|this project's own|ours\b", re.IGNORECASE)
each = pytest.mark.parametrize("function", functions(), ids=lambda function: function.__name__)


def test_the_page_is_made_from_the_docstrings() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "write it anew: python -m suite.measures.page > docs/measures.md"


@each
def test_a_measure_says_what_it_is(function: Callable[..., Any]) -> None:
    said = inspect.getdoc(function) or ""
    for part in (r"\bzero\b", r"\bcost\b", r"\bpitfalls?\b", r"\bscale-free\b"):
        assert re.search(part, said, re.IGNORECASE), f"{function.__name__}: its docstring says nothing of {part!r}"
    assert SOURCE.search(said), f"{function.__name__}: its docstring names no source (arXiv id, author and year, or ours)"
    assert "[" in said, f"{function.__name__}: its docstring gives no shape"


def test_measures_are_imported_from_the_package() -> None:
    """As in `from suite.measures import rayleigh_quotient`, whatever module they are written in."""
    offered = {name for name in measures.__all__ if inspect.isfunction(getattr(measures, name))}
    assert offered == {name for names in PURE.values() for name in names} | {"measure"}


def test_every_measure_of_the_package_is_on_the_page() -> None:
    """Public functions of the modules that return tensors or what is made of them."""
    listed = set(functions())
    for module in {module_of(names[0]) for names in PURE.values()}:
        public = {
            f
            for name, f in inspect.getmembers(module, inspect.isfunction)
            if not name.startswith("_") and f.__module__ == module.__name__ and name != "run"
        }
        helpers = {f for f in public - listed if HELPERS.get(f.__name__) == module.__name__}
        assert public <= listed | helpers, {f.__name__ for f in public - listed}


HELPERS = {
    "edge_free": "suite.measures.twin",
    "nearest_distance": "suite.hops",
    "unit": "suite.measures.ranks",
    "fixed_space": "suite.measures.smoothing",
    "project": "suite.measures.smoothing",
    "together": "suite.measures.smoothing",
    "describe": "suite.measures.smoothing",
    "some_pairs": "suite.measures.smoothing",
    "fit_probes": "suite.measures.recoverability",
    "plant": "suite.measures.recoverability",
    "by_hop": "suite.measures.squashing",
    "check_operator": "suite.measures.structure",
    "power_as_run": "suite.measures.structure",
    "fiedler": "suite.measures.structure",
    "laplacian_solver": "suite.measures.structure",
    "undirected": "suite.measures.structure",
    "applied": "suite.measures.structure",
    "laplacian_of": "suite.measures.structure",
    "adjacency_of": "suite.measures.ways",
    "sum_by_hop": "suite.measures.structure",
    "log10_mean": "suite.measures.structure",
}
