"""Means with 95 % intervals, by bootstrap over subjects (percentile method, fixed seed).

Several cases of one subject are alike, so whole subjects are drawn: eight images of one head do not
make the interval narrower as eight heads would. With fewer than `LEAST_SUBJECTS` the bootstrap says
little more than the smallest and the largest value, and there is no interval: both its ends are the
mean.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from node.package.manifest import Interval

RESAMPLES = 10_000
SEED = 20261122  # the same interval whenever the same numbers are given
LEAST_SUBJECTS = 5

Sums = npt.NDArray[np.float64]


def interval(values: Sequence[float], subjects: Sequence[str] | None = None) -> Interval:
    """Return the mean of `values`, one per case, and its interval.

    `subjects` says whose each value is; without it, each is another's.
    """
    return ratio(values, [1.0] * len(values), subjects)


def ratio(
    values: Sequence[float], reference: Sequence[float], subjects: Sequence[str] | None = None
) -> Interval:
    """Return mean(values) / mean(reference) of paired cases, resampled in pairs."""
    a, b = _by_subject(values, subjects), _by_subject(reference, subjects)
    mean = float(a.sum() / b.sum())
    if len(a) < LEAST_SUBJECTS:
        return Interval(mean=mean, ci=(mean, mean))
    draws = np.random.default_rng(SEED).integers(0, len(a), (RESAMPLES, len(a)))
    low, high = np.percentile(a[draws].sum(axis=1) / b[draws].sum(axis=1), [2.5, 97.5])
    return Interval(mean=mean, ci=(float(low), float(high)))


def difference(
    values: Sequence[float], reference: Sequence[float], subjects: Sequence[str] | None = None
) -> Interval:
    """Return the mean of paired differences, values - reference."""
    return interval([a - b for a, b in zip(values, reference, strict=True)], subjects)


def _by_subject(values: Sequence[float], subjects: Sequence[str] | None) -> Sums:
    """Return the sum of the values of each subject."""
    if subjects is None:
        return np.asarray(values, float)
    sums: dict[str, float] = {}
    for subject, value in zip(subjects, values, strict=True):
        sums[subject] = sums.get(subject, 0.0) + value
    return np.array(list(sums.values()))
