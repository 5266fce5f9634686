"""The verdicts of certificates, and which conclusions they bar: read by the analysis too, which needs no torch."""

from __future__ import annotations

from typing import Any

BROKEN = "not certified (contract broken)"
LOCAL = "local"
CONTENT = "content-addressed"
EDGE_FREE = "edge-free"
MEMORISABLE = "memorisable"
UNIDENTIFIABLE = "unidentifiable"
PRECISION = "precision-limited"
UNDERTRAINED = "not certified (control undertrained)"
UNCONTROLLED = "not certified (no control of edges)"
UNSOLVED = "not certified (not shown solvable)"
UNLEARNED = "not certified (not shown learnable)"
CERTIFIED = "certified"
# The first that holds is the verdict.
TAGS = (
    BROKEN,
    LOCAL,
    CONTENT,
    EDGE_FREE,
    MEMORISABLE,
    UNIDENTIFIABLE,
    PRECISION,
    UNDERTRAINED,
    UNCONTROLLED,
    UNSOLVED,
    UNLEARNED,
)

PUBLISHED = "as published"
UNKNOWN = "without a certificate"

# What bars conclusions about distance, that is how far models reach and what goes with failing at it, and why. Content-addressed
# does not: it bars taking what a global channel does as use of structure.
BARS = {
    BROKEN: "the generator breaks its own contract",
    LOCAL: "the answer, or a part of it, can be had nearer than r",
    EDGE_FREE: "other edges do as well",
    MEMORISABLE: "training shows inputs of the test",
    UNIDENTIFIABLE: "no message passing net can tell the answers apart, at any reach",
    PRECISION: "single precision does not hold the answer",
    UNDERTRAINED: "no control shows that the answer lies r away",
    UNCONTROLLED: "on one given graph, or whole graphs, no control shows that edges are needed",
    UNSOLVED: "neither a witness nor a control shows that it can be solved",
    UNLEARNED: "what is to be composed is not learned from a bare list either, so that the graph is not to blame",
    PUBLISHED: "kept with its flaws, and never pooled with ours",
    UNKNOWN: "nothing shows what it needs",
}


def barred_by(task: dict[str, Any], certificate: dict[str, Any] | None) -> str:
    """Return what bars conclusions about distance from a task (a name of `BARS`, the first that holds), "" where nothing does."""
    if is_published(task):
        return PUBLISHED
    if certificate is None:
        return UNKNOWN
    found = {certificate["verdict"], *certificate["tags"]}
    return next((name for name in BARS if name in found), "")


def is_published(task: dict[str, Any]) -> bool:
    """Return whether a task, or what it is a view of, is kept as it was published, flaws included."""
    seen = task["task"]
    while "seen" in seen["params"]:
        seen = seen["params"]["seen"]
    return str(seen["ref"].rpartition(":")[2]).startswith("Published")
