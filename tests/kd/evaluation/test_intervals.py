"""Confidence intervals: they contain the mean, repeat, and treat a subject as one."""

import numpy as np
import pytest

from kd.evaluation.intervals import LEAST_SUBJECTS, difference, interval, ratio
from node.package.manifest import Interval

VALUES = [0.8, 0.9, 0.85, 0.95, 0.7, 0.6, 0.88, 0.81, 0.77, 0.92]


def test_an_interval_contains_the_mean_and_repeats() -> None:
    result = interval(VALUES)
    assert result == interval(VALUES)
    assert result.ci[0] < result.mean < result.ci[1]
    assert result.mean == pytest.approx(np.mean(VALUES))


def test_cases_of_one_subject_make_no_narrower_interval() -> None:
    """Each of ten subjects eight times: the mean and the interval of the ten."""
    names = [f"subject {n}" for n in range(len(VALUES))]
    once, eight = interval(VALUES), interval(VALUES * 8, names * 8)
    assert eight.mean == pytest.approx(once.mean)
    assert eight.ci == pytest.approx(once.ci, abs=1e-3)
    as_if_alone = interval(VALUES * 8)
    assert as_if_alone.ci[1] - as_if_alone.ci[0] < 0.5 * (once.ci[1] - once.ci[0])
    gap = difference([v + 0.1 * v for v in VALUES * 8], VALUES * 8, names * 8)
    assert gap.ci == pytest.approx([0.1 * end for end in once.ci], abs=1e-3)
    assert ratio([2 * v for v in VALUES * 8], VALUES * 8, names * 8).ci == pytest.approx((2, 2))


def test_a_subject_with_more_cases_weighs_more_in_the_mean() -> None:
    names = ["a", "a", "a", "b", "c", "d", "e"]
    assert interval([1.0, 1.0, 1.0, 0, 0, 0, 0], names).mean == pytest.approx(3 / 7)


def test_below_ten_subjects_there_is_no_interval() -> None:
    names = [f"subject {n}" for n in range(LEAST_SUBJECTS - 1)]
    few = interval(VALUES[:-1] * 8, names * 8)
    assert few.ci == (few.mean, few.mean)
    enough = interval(VALUES, [*names, "one more"])
    assert enough.ci[0] < enough.mean < enough.ci[1]


def test_an_interval_is_written_with_its_mean_or_not_at_all() -> None:
    assert Interval(mean=0.65, ci=(0.65, 0.65)).words() == "0.6500"
    assert Interval(mean=0.5, ci=(0.4, 0.6)).words("+.1f") == "+0.5 (+0.4 to +0.6)"


def test_equal_values_have_no_interval() -> None:
    assert interval([1.0] * 20).ci == (1.0, 1.0)
    assert ratio(VALUES, VALUES).ci == (1.0, 1.0)


def test_pairing_removes_what_both_share() -> None:
    student = [value - 0.01 for value in VALUES]
    assert difference(student, VALUES).ci == pytest.approx((-0.01, -0.01))


def test_the_interval_is_bias_corrected() -> None:
    """A skewed sample moves both ends towards its long tail, as a percentile interval does not."""
    skewed = [0.9] * 12 + [0.2, 0.4, 0.6]
    result = interval(skewed)
    assert result.mean - result.ci[0] > 1.5 * (result.ci[1] - result.mean)


def test_of_ten_subjects_nine_intervals_in_ten_contain_the_true_mean() -> None:
    rng = np.random.default_rng(3)
    samples = [rng.normal(0.8, 0.05, LEAST_SUBJECTS).tolist() for _ in range(100)]
    covered = sum(low <= 0.8 <= high for low, high in (interval(s).ci for s in samples))
    assert covered >= 85, "95 % is nominal; with ten subjects BCa reaches about 90 %"
