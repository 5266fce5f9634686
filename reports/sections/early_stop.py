"""The rule that ends cells at chance, and how often it errs."""

from __future__ import annotations

from reports.blocks import NONE, Block, fixed, heading, percent, plural, prose, ref, table, text
from reports.sections.context import Context
from suite.analysis.early_stop import FalseStops, Share, false_stops


def blocks(context: Context) -> list[Block]:
    """Return what is known of the rule; nothing where the study neither uses nor measures it."""
    found = false_stops(context.analysis.results.full_runs)
    if found:
        return [heading("Ending at chance", 2), _about(found), _table(found)]
    records = context.analysis.results.records.values()
    protocols = [record["cell"]["protocol"] for record in records]
    if all(protocol["chance_stop"] is None for protocol in protocols):
        return []
    stopped = sum(record["metrics"]["stopped"] == "chance" for record in records)
    return [
        heading("Ending at chance", 2),
        text(
            f"The rule ended {plural(stopped, 'cell')}. How often it ends a cell that would have left chance later was not "
            "measured here: no cell of these settings was trained in full."
        ),
    ]


def _about(found: list[FalseStops]) -> Block:
    about = prose(
        """The rule ends a cell at its first look at the validation set at or after the set step where its best validation
        skill so far is below three standard errors of guessing. It was held against cells of the same settings that were
        trained in full: their validation curves tell which of them it would have ended, their test scores, on samples that
        decided nothing, what would have been missed. A cell left chance if its test skill, trained in full, is at least
        three standard errors of guessing; a false stop is a cell that the rule would have ended although it left chance.
        The false-stop rate is the share of false stops among the cells that the rule would have ended:"""
    )
    rates = [f"{_said(row.of_ended)} after step {row.after} (of all trained in full: {_said(row.of_all)})" for row in found]
    chosen = "The sample is not drawn at random but of chosen conditions; see "
    about["parts"] += [f"{'; '.join(rates)}. {chosen}", ref("tab-false-stops"), "."]
    other = sum(row.other_source for row in found)
    if other:
        about["parts"].append(f" Note: {plural(other, 'cell')} of the sample come from another state of the source.")
    return about


def _table(found: list[FalseStops]) -> Block:
    caption = (
        "Cells trained in full against the rule that ends cells at chance, with two-sided 95 % Clopper-Pearson intervals. "
        "Would end: cells that the rule would have ended. False stops: those of them that left chance in the end. Solved "
        "later: those of them that solved their task."
    )
    head = ["Step", "In full", "Would end", "False stops, of those ended", "Of all", "Of those that left chance", "Solved later"]
    rows = [
        [str(row.after), str(row.of_all.whole), str(row.of_ended.whole)]
        + [_shown(share) for share in (row.of_ended, row.of_all, row.of_left, row.solved_of_ended)]
        for row in found
    ]
    return table("false-stops", caption, head, rows, ["num", "num", "num", *["share"] * 4], 7.5)


def _shown(share: Share) -> str:
    """Return "1 of 50 [0.1, 10.6] %"."""
    low, high = (fixed(100 * limit, 1) for limit in share.limits)
    return f"{share.part} of {share.whole} [{low}, {high}] %" if share.whole else NONE


def _said(share: Share) -> str:
    """Return "1 of 50, 2.0 % [0.1 %, 10.6 %]"."""
    if not share.whole:
        return f"0 of 0, {NONE}"
    low, high = share.limits
    rate = percent(share.part / share.whole, 1)
    return f"{share.part} of {share.whole}, {rate} [{percent(low, 1)}, {percent(high, 1)}]"
