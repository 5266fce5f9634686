"""The first page: what was asked, four numbers, and what the data say."""

from __future__ import annotations

from reports.blocks import NONE, Block, bullets, heading, text
from reports.sections.context import Context
from reports.sentences import certificates, farthest, finished, summary
from suite.verdicts import CERTIFIED


def blocks(context: Context) -> list[Block]:
    """Return the executive summary."""
    analysis = context.analysis
    question = str(analysis.results.study.get("question") or "")
    asked = [text(question)] if question else []
    return [
        heading("Executive summary", numbered=False),
        *asked,
        {"kind": "tiles", "tiles": _tiles(context)},
        bullets(summary(analysis)),
    ]


def _tiles(context: Context) -> list[dict[str, str]]:
    analysis = context.analysis
    hops, reach, results = analysis.part("hops"), analysis.reach, analysis.results
    planned = len(results.unique)
    tiles = [_tile(f"{finished(analysis):,}", f"of {planned:,} planned cells finished")]
    if len(hops):
        won, lost = (int((hops["verdict"] == verdict).sum()) for verdict in ("success", "failure"))
        rest = len(hops) - won - lost
        tiles.append(_tile(f"{won}", f"of {len(hops)} conditions succeed; {lost} fail, {rest} are mixed or undecided"))
        own = reach[reach["access"] == "edges"]
        far, _ = farthest(own)
        what = "success" if own["decided"].sum() else "distance that all seeds solve"
        tiles.append(_tile(NONE if far is None else f"r = {far}", f"farthest {what} where only edges carry information"))
    if certificates(analysis):
        good = sum(c["verdict"] == CERTIFIED for c in results.certificates.values())
        others = "are flagged" if len(results.certificates) == len(results.tasks) else "are flagged or have no certificate"
        tiles.append(_tile(f"{good}", f"of {len(results.tasks)} tasks are certified; the others {others}"))
    return tiles


def _tile(value: str, label: str) -> dict[str, str]:
    return {"value": value, "label": label}
