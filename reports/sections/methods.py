"""How: protocol, models, measures, statistics."""

from __future__ import annotations

from typing import Any

from reports.blocks import NONE, Block, cell, equation, figure, heading, listing, plural, prose, ref, table
from reports.sections import fairness
from reports.sections.context import PART_NAMES, Context
from suite.analysis.fairness import tuned_names
from suite.analysis.measured import is_opaque
from suite.analysis.results import PARTS
from suite.analysis.statistics import LEVEL, SOLVED_SKILL

SETTINGS = {
    "lr": "Learning rate (Adam)",
    "weight_decay": "Weight decay",
    "conv_weight_decay": "Weight decay of convolutions",
    "batch_size": "Graphs in a step",
    "max_steps": "Steps at most",
    "eval_every": "Steps between validations",
    "clip": "Gradient norm clipped at",
    "num_validation": "Validation graphs",
    "num_test": "Test graphs",
    "solved_at": "Ends at validation skill",
    "select": "Weights kept",
}


def blocks(context: Context) -> list[Block]:
    """Return the methods."""
    return [
        heading("Methods", flush=True),
        *_protocol(context),
        *_models(context),
        *fairness.blocks(context),
        *_measures(context),
        *_statistics(),
    ]


def _protocol(context: Context) -> list[Block]:
    results = context.analysis.results
    found: dict[str, dict[str, dict[str, None]]] = {}
    tuned = tuned_names(results)
    for row in results.cells.to_dict("records"):
        record = results.records.get(row["key"])
        for name, value in (record["cell"]["protocol"] if record else {}).items():
            searched = name in tuned.get((row["part"], row["model"]), ())
            found.setdefault(row["part"], {}).setdefault(name, {})["tuned" if searched else _plain(value)] = None
    parts = [part for part in PARTS if part in found]
    words = prose(
        """A cell is one training run: task, distance, model, depth, width, protocol and seed. The seed fixes
        initialisation, data and data order together; all models of a seed see the same data in the same order. Training
        draws fresh samples where the task has no finite set; validation and test are fixed sets. Budgets are optimiser
        steps, never seconds. Weights are selected on validation, never on test. A cell ends early only when
        its validation skill shows the task solved; one that stays at chance gets its whole budget.""",
        _ended(context),
    )
    if not parts:
        return [heading("Protocol", 2), words]
    if not any(
        set(found[part].get("conv_weight_decay", ())) - {_plain(None)} for part in parts
    ):  # only where a study asks for it
        found = {part: {name: values for name, values in found[part].items() if name != "conv_weight_decay"} for part in parts}
    named = [name for name in SETTINGS if any(name in found[part] for part in parts)]
    rows = [[SETTINGS[name], *(" / ".join(found[part].get(name, {NONE: None})) for part in parts)] for name in named]
    caption = "Protocol of the finished cells, by part of the report. Several values: the part has cells of each."
    head = ["Setting", *(PART_NAMES[part] for part in parts)]
    return [heading("Protocol", 2), words, table("protocol", caption, head, rows, ["text", *["num"] * len(parts)], 8)]


def _ended(context: Context) -> str:
    cells = context.analysis.results.unique
    if "stopped" not in cells or cells["stopped"].isna().all():
        return "No cell has finished."
    counts = cells["stopped"].value_counts()
    names = {
        "solved": "ended as solved",
        "budget": "used the whole budget",
        "diverged": "diverged",
    }
    said = [f"{int(counts[key])} {name}" for key, name in names.items() if key in counts]
    return f"Of {plural(int(counts.sum()), 'finished cell')}, {listing(said)}."


def _plain(value: Any) -> str:
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _models(context: Context) -> list[Block]:
    rows = _model_rows(context)
    if not rows:
        return []
    caption = """Models as they were run, every setting written out. Global channel: what other than edges can carry
        information between nodes; norm(train): statistics shared in training only."""
    return [
        heading("Models", 2),
        prose(
            """Norm, skip and initialisation move the distance at which a model gives up as much as the topology does,
            so they are part of every claim. The default block was chosen once, on validation, in an ablation on ring
            and barbell that the project's documentation keeps, not on any result of this report. Every setting is
            in""",
            ref("tab-models"),
            ".",
        ),
        table(
            "models",
            " ".join(caption.split()),
            ["Model", "Family", "Global channel", "Class", "Settings"],
            rows,
            ["text", "text", "text", "text", "fill"],
            7,
        ),
        *_opaque(context),
    ]


def _opaque(context: Context) -> list[Block]:
    """Say of which models the measures by layer are not available, and why."""
    results = context.analysis.results
    names = results.unique.loc[[is_opaque(results, key) for key in results.unique["key"]], "model_label"]
    if names.empty:
        return []
    return [
        prose(
            f"""Measures by layer are not available for {listing(list(dict.fromkeys(names)))}: a module whose hidden states
            are to be seen has `encode` and `decode`, or PyG convolutions that can be listened to. Influence needs neither."""
        )
    ]


def _model_rows(context: Context) -> list[list[Any]]:
    """One row for each model and settings that a finished cell has; one for a model without any."""
    results = context.analysis.results
    rows: dict[tuple[str, str], list[Any]] = {}
    tuned = tuned_names(results)
    if not len(results.cells):
        return []
    for row in results.cells.sort_values("family_order", kind="stable").to_dict("records"):
        record, label = results.records.get(row["key"]), row["model_label"]
        settings = dict(sorted(record["cell"]["model"]["settings"].items())) if record else {}
        settings |= {name: "tuned" for name in tuned.get((row["part"], row["model"]), ()) if name in settings}
        if isinstance(row.get("budget"), dict) and "mlp_channels" in settings:
            settings["mlp_channels"] = "by budget"
        settings |= _factors(record["cell"]) if record else {}
        place = record["cell"]["model"]["ref"].rpartition(":")[2] if record else NONE
        shown = ", ".join(f"{name}={_plain(value)}" for name, value in settings.items()) or NONE
        channel = ", ".join(row["global_channel"]) or "none"
        name = cell(label, color=context.looks[label]["color"])
        rows.setdefault((label, shown), [name, row["family"], channel, place, shown])
    run = {label for label, shown in rows if shown != NONE}
    return [line for (label, shown), line in rows.items() if shown != NONE or label not in run]


def _factors(asked: dict[str, Any]) -> dict[str, str]:
    """Return the encoding and the rewiring of a cell, with their settings; records from before there were any have none."""
    given = {kind: asked.get(kind) for kind in ("encoding", "rewiring")}
    return {kind: _factor(factor) for kind, factor in given.items() if factor is not None}


def _factor(factor: dict[str, Any]) -> str:
    said = {name: _factor(value) if isinstance(value, dict) else _plain(value) for name, value in factor["settings"].items()}
    settings = ", ".join(f"{name}={value}" for name, value in said.items())
    return f"{factor['name']}({settings})" if settings else str(factor["name"])


def _measures(context: Context) -> list[Block]:
    drawings = context.at("methods")
    return [
        heading("Measures", 2),
        prose(
            """All measures are taken in float64 on a copy in eval mode, on whole graphs, at initialisation and at the
            selected weights, on inputs drawn from the task's own streams. With Ã = A + I, its degrees D̃, and S the
            model's operator (GCN: symmetric normalisation; mean: row normalisation; complete: mean over all nodes), the
            Rayleigh quotient of features H after a layer is"""
        ),
        equation("rayleigh", "R Q of H equals trace of H transposed times I minus S times H over the squared norm of H"),
        prose(
            """(mean: in the inner product of D̃). It is 0 exactly in the space that S leaves unchanged. Sum
            aggregation has no such quotient; there the share of the squared norm outside the space that repeated sums
            end in takes its place, and models without edges are judged over all nodes. With biases a collapsed GCN
            ends in a constant vector, which this quotient does not call smooth: hence the reference line.""",
            *(("Both limits are in ", ref(f"fig-{drawings[0].name}"), ". ") if drawings else ()),
            "The effective rank is the exponential of the entropy of the normalised singular values,",
        ),
        equation("rank", "erank of H equals exp of minus the sum over k of p k log p k, p k singular value k over their sum"),
        prose(
            """Recoverability: nodes carry class tokens, uniform over K classes. A ridge multinomial logistic regression
            is fitted to read a node's own token from its features with relative noise ε, and scored on fresh draws:"""
        ),
        equation("recoverability", "R epsilon equals accuracy of the probe minus one over K, over one minus one over K"),
        prose(
            """at ε = 10⁻³, about the precision of bfloat16. Noise is part of the definition: propagation is mostly
            invertible in exact arithmetic, so smoothing is loss at a precision. Influence: Jacobians of the read-out
            with respect to the input of every node, by reverse differentiation, encodings held fixed and distances those of
            the task's own graph, whatever a rewiring made of it; share and total as in the section on over-squashing,
            averaged as logarithms over pairs. The operator share is that of the operator at the model's depth,"""
        ),
        equation("operator", "operator share equals entry v u of S to the power L over the sum of row v"),
        prose(
            """which needs no weights. Where layers add to their input it is the root of the sum over k of the squares of row v
            of S to the power k, weighed by the elementary symmetric polynomials of c², c of a layer the norm of what it adds
            over that of its input; with any other skip it is the operator without the skip."""
        ),
        prose("A share of exactly zero is shown apart, never as a small number."),
        *(figure(drawing) for drawing in drawings),
    ]


def _statistics() -> list[Block]:
    level = f"{100 * LEVEL:g} %"
    return [
        heading("Statistics", 2),
        prose(
            f"""Skill is (score − chance) / (ceiling − chance); a cell is solved at test skill ≥ {SOLVED_SKILL:g}, fixed
            beforehand. A condition is a success if the one-sided {level} Clopper-Pearson lower limit of
            its solve rate is above one half, a failure if the upper one is below, else mixed. Five of
            five, seven of eight or nine of ten decide; four seeds never do, so fewer than five finished
            cells are “too few”. A cell that diverged is finished and not solved; failed, missing and unavailable cells
            are counted, never averaged away. Bars of solve rates are two-sided {level} Clopper-Pearson
            intervals, another convention than the verdict's. Bands and bars of other quantities are
            {level} t-intervals over seeds, those of accuracies cut at 0 and 1; shares, totals, norms and
            quotients are averaged as logarithms in figures by layer and hop. No test is made over epochs
            or nodes as if they were independent, and no correction for many comparisons: the report
            describes, it does not test."""
        ),
    ]
