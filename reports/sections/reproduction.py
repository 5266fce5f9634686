"""Reproduction cards: published numbers beside ours, under the published settings."""

from __future__ import annotations

from typing import Any

from reports.blocks import Block, cell, figure, fixed, heading, prose, ref, refs, spread, table, text
from reports.published import cards_of
from reports.sections.context import Context
from reports.sentences import reproduction


def blocks(context: Context) -> list[Block]:
    """Return the cards; empty where the study reproduces nothing."""
    if context.analysis.part("reproduction").empty:
        return []
    cards = cards_of(context.analysis)
    if not cards:
        return [heading("Reproduction"), text("No published number is on file for the cells under published settings.")]
    sources = "; ".join(dict.fromkeys(f"{c['card'].task}: {c['card'].source}" for c in cards))
    caption = (
        "Published accuracy beside ours: mean and 95 % t-interval over seeds, and median. Agrees: the published "
        f"value lies inside our interval widened by the error of reading it (±0.02 for figures). Sources: {sources}."
    )
    head = ["Task", "Model", "r", "Split", "Published", "Ours", "Median", "Seeds", "Verdict"]
    widths = ["fill", "text", "num", "text", "num", "num", "num", "num", "text"]
    drawn = context.at("reproduction")
    shown = [*refs([f"fig-{d.name}" for d in drawn]), " and "] if drawn else []
    return [
        heading("Reproduction"),
        prose(
            reproduction(context.analysis) + " The numbers are in",
            *shown,
            ref("tab-cards"),
            ". The published protocols select on test or train accuracy, and certificates flag their tasks: "
            "agreement says that we run what they ran, not that it is sound.",
        ),
        *(figure(d) for d in drawn),
        table("cards", caption, head, [_row(card) for card in cards], widths, 7.5),
    ]


def _row(card: dict[str, Any]) -> list[Any]:
    row, published = card["condition"], card["card"]
    weight = {"agrees": "regular", "differs": "bold"}.get(card["verdict"], "muted")
    return [
        row["task_label"],
        row["series"],
        str(int(row["hops"])),
        published.split,
        fixed(published.value),
        spread(card["ours"]),
        fixed(card["median"]),
        f"{row['finished']}/{row['planned']}",
        cell(card["verdict"], weight),
    ]
