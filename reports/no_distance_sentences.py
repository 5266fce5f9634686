"""What is said of a task whose answer lies at no single distance: the best model beside chance and the best control."""

from __future__ import annotations

import pandas as pd

from reports.blocks import plural, score_words
from reports.metrics import NAMES, SHARES
from suite.analysis.statistics import Interval


def no_distance_words(task: str, rows: pd.DataFrame) -> str:
    """Return what the conditions of one task say."""
    metric, chance = str(rows["metric"].iloc[0]), rows["chance"].iloc[0]
    done = rows[rows["finished"] > 0]
    level = score_words(Interval(None if pd.isna(chance) else float(chance), None, None, 0), metric)
    about = f"{task} (at no single distance; chance {level})"
    if done.empty:
        return f"{about}: none of {plural(int(rows['planned'].sum()), 'planned cell')} has finished; nothing can be said."
    controls, models = done[done["access"] == "control"], done[done["access"] != "control"]
    what = f"{'highest' if metric in SHARES else 'lowest'} {NAMES[metric]}"
    found = [f"{what}: {_named(_best(models), metric)}" if len(models) else "no model has finished"]
    if controls.empty:
        return f"{about}: {found[0]}; no control without edges has finished."
    bound = _best(controls)
    found.append(f"best control without edges: {_named(bound, metric)}")
    if len(models):
        ahead = {str(row["model_label"]) for _, row in models.iterrows() if better(row["score"], bound["score"], metric)}
        total = int(models["model_label"].nunique())
        found.append(
            f"{len(ahead)} of {plural(total, 'model')} {'is' if len(ahead) == 1 else 'are'} better than it, by intervals"
        )
    return f"{about}: {'; '.join(found)}."


def better(score: Interval, other: Interval, metric: str) -> bool:
    """Return whether the interval of one score lies wholly on the better side of the other's; without intervals it does not."""
    if None in (score.low, score.high, other.low, other.high):
        return False
    return bool(score.low > other.high if metric in SHARES else score.high < other.low)  # type: ignore[operator]


def _best(rows: pd.DataFrame) -> pd.Series:
    """Return the condition with the best mean score; one without any comes last."""
    sign = 1 if rows["metric"].iloc[0] in SHARES else -1
    means = [row["score"].mean for _, row in rows.iterrows()]
    order = sorted(range(len(means)), key=lambda i: (means[i] is None, 0 if means[i] is None else -sign * means[i]))
    return rows.iloc[order[0]]


def _named(row: pd.Series, metric: str) -> str:
    return f"{row['series']}, {score_words(row['score'], metric)}"
