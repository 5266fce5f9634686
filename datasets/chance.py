"""What tokens give away without edges."""

from functools import cache

import numpy as np
from scipy.special import gammaln, xlogy  # scipy.stats is a quarter of a second of every start


@cache
def commonest_share(num_tokens: int, num_classes: int) -> float:
    """Return E[largest class count] / `num_tokens` for iid uniform classes.

    It is how often a guess of the commonest class is right where the answer is one of `num_tokens` tokens that nothing
    tells apart: more than 1 / `num_classes`.

    E[max] = sum over t of P(max > t). Class counts are Poisson variables given their sum, so P(max <= t) is the
    coefficient of z^num_tokens in (truncated Poisson)^num_classes, over the probability of the sum: no sampling, exact
    to rounding.
    """
    mean = num_tokens / num_classes
    weights = _poisson(np.arange(num_tokens + 1), mean)
    total = _poisson(np.asarray(num_tokens), num_tokens)
    expected = float(-(-num_tokens // num_classes))  # some class has that many: P(max > t) = 1 for every t below
    for t in range(-(-num_tokens // num_classes), num_tokens):
        below = _power(np.where(np.arange(num_tokens + 1) <= t, weights, 0.0), num_classes)[num_tokens] / total
        expected += 1 - below
        if 1 - below < 1e-14:
            break
    return float(expected / num_tokens)


def _poisson(counts: np.ndarray, mean: float) -> np.ndarray:
    """Return the probability of each count."""
    return np.exp(xlogy(counts, mean) - mean - gammaln(counts + 1))


def _power(series: np.ndarray, exponent: int) -> np.ndarray:
    """Return the power series to that power, cut to the same length."""
    product = series
    for _ in range(exponent - 1):
        product = np.convolve(product, series)[: series.size]
    return product
