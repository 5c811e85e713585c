"""Means with 95 % confidence intervals: BCa bootstrap over subjects, by scipy.

Several cases of one subject resemble each other, so whole subjects are resampled: eight images of
one head do not make the interval as narrow as eight heads would. With fewer than `LEAST_SUBJECTS`
subjects the interval would cover the true mean far too rarely: none is reported, and both ends are
the mean.
"""

import warnings
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import stats

from node.package.manifest import Interval

RESAMPLES = 9_999
SEED = 20261122  # equal numbers give equal intervals
LEAST_SUBJECTS = 10

Sums = npt.NDArray[np.float64]


def interval(values: Sequence[float], subjects: Sequence[str] | None = None) -> Interval:
    """Return the mean of `values`, one per case, and its interval.

    `subjects` has the subject of each value; without it, each value is of another subject.
    """
    return ratio(values, [1.0] * len(values), subjects)


def ratio(
    values: Sequence[float], reference: Sequence[float], subjects: Sequence[str] | None = None
) -> Interval:
    """Return mean(values) / mean(reference) of paired cases, resampled in pairs."""
    a, b = _by_subject(values, subjects), _by_subject(reference, subjects)
    mean = float(a.sum() / b.sum())
    shares = a / np.where(b == 0, 1, b)
    if len(a) < LEAST_SUBJECTS or np.ptp(shares) < np.finfo(np.float32).eps:
        return Interval(mean=mean, ci=(mean, mean))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", stats.DegenerateDataWarning)  # handled below
        interval = stats.bootstrap(
            (a, b),
            _ratio_of_sums,
            paired=True,
            vectorized=True,
            n_resamples=RESAMPLES,
            confidence_level=0.95,
            method="BCa",
            rng=np.random.default_rng(SEED),
        ).confidence_interval
    ends = (float(interval.low), float(interval.high))
    return Interval(mean=mean, ci=ends if np.isfinite(ends).all() else (mean, mean))


def difference(
    values: Sequence[float], reference: Sequence[float], subjects: Sequence[str] | None = None
) -> Interval:
    """Return the mean of paired differences, values - reference."""
    return interval([a - b for a, b in zip(values, reference, strict=True)], subjects)


def _ratio_of_sums(a: Sums, b: Sums, axis: int) -> Sums:
    result: Sums = a.sum(axis=axis) / b.sum(axis=axis)
    return result


def _by_subject(values: Sequence[float], subjects: Sequence[str] | None) -> Sums:
    """Return the sum of the values of each subject."""
    if subjects is None:
        return np.asarray(values, float)
    sums: dict[str, float] = {}
    for subject, value in zip(subjects, values, strict=True):
        sums[subject] = sums.get(subject, 0.0) + value
    return np.array(list(sums.values()))
