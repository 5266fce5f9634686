"""Why: over-smoothing by depth, over-squashing by distance, and the plane of both."""

from __future__ import annotations

from typing import Any

from reports.blocks import (
    Block,
    Part,
    equation,
    figure,
    fixed,
    heading,
    listing,
    plural,
    prose,
    ref,
    refs,
    short,
    table,
    text,
)
from reports.figures import Drawing
from reports.sections.context import Context
from reports.sentences import two_failures

NAMES = {
    "log10_share_initial": "Share of the source, at initialisation",
    "log10_share_trained": "Share of the source, trained",
    "log10_operator_share_initial": "Share under the bare propagation operator",
    "recoverability_trained": "Own-token recoverability, trained",
    "log10_total_initial": "Total sensitivity, at initialisation",
    "log10_norm_initial": "Norm of the last features, at initialisation",
    "log10_gain_initial": "Largest singular value of a layer's Jacobian, at initialisation",
    "source_trained": "Recoverability of the source's token at the read-out, trained",
}


def blocks(context: Context) -> list[Block]:
    """Return three sections, or a word on why they are missing."""
    if context.analysis.part("hops").empty:
        return []
    return [*_smoothing(context), *_squashing(context), *_plane(context)]


def _shown(drawings: list[Drawing], more: list[Drawing]) -> list[Part]:
    """References to the figures of the section, and to those of the appendix."""
    rest = ["; the other tasks are in ", *refs([f"fig-{d.name}" for d in more])] if more else []
    return [*refs([f"fig-{d.name}" for d in drawings]), *rest, ". "]


def _smoothing(context: Context) -> list[Block]:
    drawings = context.at("smoothing")
    if not drawings:
        return [heading("Over-smoothing by depth"), text("No finished cell has smoothing measures yet.")]
    more = [d for d in context.at("appendix") if d.name.startswith("smoothing")]
    about = prose(
        """Over-smoothing is judged per layer, in float64, before and after training, by four quantities that fail in
        different ways. The Rayleigh quotient of the model's own operator is 0 where features have become what that
        operator leaves unchanged; unlike raw Dirichlet energy it does not measure the scale of weights, which the norm
        shows beside it. The effective rank is 1 where all features are multiples of one. None of the three tells
        whether information is lost; the recoverability of a node's own token does, at a stated precision."""
    )
    return [
        heading("Over-smoothing by depth"),
        about,
        prose("All four are in", *_shown(drawings, more), _smoothing_words(context)),
        *(figure(d) for d in drawings),
    ]


def _smoothing_words(context: Context) -> str:
    rows = context.analysis.evidence.to_dict("records")
    pairs = [(row["recoverability_initial"].mean, row["recoverability_trained"].mean, row) for row in rows]
    known = [(before, after, row) for before, after, row in pairs if before is not None and after is not None]
    if not known:
        return "No condition whose task allows conclusions has recoverability measured."
    lost = [(after, row) for _, after, row in known if after < 0.5]
    raised = sum(after > before for before, after, _ in known)
    found = (
        f"Of {plural(len(known), 'measured condition')}, {len(lost)} keep less than half of the recoverability of own "
        f"tokens after the last trained layer; training raises it over its initial value in {raised}."
    )
    if not lost:
        return found
    worst, row = min(lost, key=lambda pair: pair[0])
    return f"{found} Lowest: {row['series']} on {row['task_label']} at r = {int(row['hops'])}, {fixed(worst)}."


def _squashing(context: Context) -> list[Block]:
    drawings = context.at("influence")
    if not drawings:
        return [heading("Over-squashing by distance"), text("No finished cell has influence measured yet.")]
    more = [d for d in context.at("appendix") if d.name.startswith(("influence", "shells"))]
    return [
        heading("Over-squashing by distance"),
        prose("The sensitivity of the read-out v to the input of a node u splits exactly into a share and a total:"),
        equation("share", "log of the norm of J v u equals log of share v u plus log of total v"),
        prose(
            """The share says how much of what arrives comes from the source (over-squashing, mostly topology), the
            total whether anything arrives (vanishing, weights and activations). Both are in""",
            *_shown(drawings, more),
            _squashing_words(context),
        ),
        *(figure(d) for d in drawings),
    ]


def _squashing_words(context: Context) -> str:
    local = [row for row in context.analysis.evidence.to_dict("records") if row["access"] == "edges"]
    pairs = [(row["log10_share_initial"].mean, row["log10_share_trained"].mean, row) for row in local]
    gains = [(after - before, row) for before, after, row in pairs if before is not None and after is not None]
    found = [_gain(gains)] if gains else []
    found += _range(local)
    blind = [row for row in local if row["blind_trained"] and row["blind_trained"] == row["finished"]]
    if blind:
        names = list(dict.fromkeys(f"{row['series']} on {row['task_label']}" for row in blind))
        where = plural(len(blind), "edge-only condition")
        found.append(f"In {where} the read-out does not feel the source at all ({listing(names, 3)}).")
    return " ".join(found) or "No edge-only condition whose task allows conclusions has influence measured at both states."


def _gain(gains: list[tuple[float, Any]]) -> str:
    raised = sum(gain > 0 for gain, _ in gains)
    best, row = max(gains, key=lambda pair: pair[0])
    return (
        f"Training raises the share of the source in {raised} of "
        f"{plural(len(gains), 'measured edge-only condition')}; the largest change is a factor of {short(10**best)}, "
        f"{row['series']} on {row['task_label']} at r = {int(row['hops'])}."
    )


def _range(local: list[dict[Any, Any]]) -> list[str]:
    """Say how far away what counts is, beside the distance asked and the operator alone."""
    rows = [(row["mean_hops_trained"].mean, row["operator_hops_trained"].mean, row["hops"]) for row in local]
    known = [(ours, bare, hops) for ours, bare, hops in rows if None not in (ours, bare)]
    if not known:
        return []
    ahead, near = sum(ours > bare for ours, bare, _ in known), sum(ours < hops for ours, _, hops in known)
    return [
        f"In {ahead} of {plural(len(known), 'edge-only condition')} the inputs that count for a trained model lie farther away, "
        f"on average, than those of its operator; in {near} they lie nearer than the answer. All ranges are in the appendix."
    ]


def _plane(context: Context) -> list[Block]:
    drawings, title = context.at("plane"), heading("Over-smoothing and over-squashing together")
    if not drawings:
        return [title, text("No condition has both coordinates of the plane measured.")]
    rows = [
        [NAMES[row["name"]], fixed(row["auc"]), str(row["successes"]), str(row["failures"])]
        for row in context.analysis.separations
    ]
    caption = (
        "How well one measure tells successes from failures, over edge-only conditions with a verdict, of tasks whose "
        "certificates bar no such conclusion: the chance "
        "that a success has the larger value than a failure (area under the ROC curve; 0.5 tells nothing). "
        "Conditions share models and tasks: a description of this grid."
    )
    head = ["Measure", "Larger in a success", "Successes", "Failures"]
    decided = any(row["auc"] is not None for row in context.analysis.separations)
    told = [". How well each measure by itself tells success from failure is in ", ref("tab-separation")] if decided else []
    return [
        title,
        prose(
            "On the plane of the two failures every model is a path along hop distance:",
            *refs([f"fig-{d.name}" for d in drawings]),
            *told,
            ". ",
            two_failures(context.analysis),
        ),
        *(figure(d) for d in drawings),
        *([table("separation", caption, head, rows, ["fill", "num", "num", "num"])] if decided else []),
    ]
