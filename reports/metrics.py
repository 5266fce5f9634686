"""What scores are called: shares from 0 to 1, shown in per cent, and errors."""

SHARES = {"accuracy": "accuracy", "roc_auc": "ROC AUC", "average_precision": "average precision"}
ERRORS = {"mse": "squared error", "mae": "absolute error"}
NAMES = SHARES | ERRORS


def comparable(metric: str) -> str:
    """Return what is shown of a score where tasks stand side by side: a share as it is, of an error the skill."""
    return SHARES.get(metric) or f"skill (1 − {ERRORS[metric]} / chance)"
