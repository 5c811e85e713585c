"""Means with 95 % intervals, by bootstrap over cases (percentile method, fixed seed)."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from node.package.manifest import Interval

RESAMPLES = 10_000
SEED = 20261122  # the same interval whenever the same numbers are given


def interval(values: Sequence[float]) -> Interval:
    """Return the mean of `values`, one per case, and its interval."""
    array = np.asarray(values, float)
    means = array[_draws(len(array))].mean(axis=1)
    return _interval(float(array.mean()), means)


def ratio(values: Sequence[float], reference: Sequence[float]) -> Interval:
    """Return mean(values) / mean(reference) of paired cases, resampled in pairs."""
    a, b = np.asarray(values, float), np.asarray(reference, float)
    draws = _draws(len(a))
    return _interval(float(a.mean() / b.mean()), a[draws].mean(axis=1) / b[draws].mean(axis=1))


def difference(values: Sequence[float], reference: Sequence[float]) -> Interval:
    """Return the mean of paired differences, values - reference."""
    return interval([a - b for a, b in zip(values, reference, strict=True)])


def _draws(n: int) -> npt.NDArray[np.int64]:
    return np.random.default_rng(SEED).integers(0, n, (RESAMPLES, n))


def _interval(mean: float, resampled: npt.NDArray[np.float64]) -> Interval:
    low, high = np.percentile(resampled, [2.5, 97.5])
    return Interval(mean=mean, ci=(float(low), float(high)))
