"""Drift: the newest series of a rule against its own history, and silence where there is none."""

import random
from dataclasses import replace

import pytest

from node.conditions import Condition, ConditionCode, conditions
from node.conditions.drift import LEAST_BEFORE, NEWEST
from node.queue import RuleRuns, Run
from tests.support.rows import T0
from tests.support.snapshots import NO_FACTS, healthy


def runs(count: int, *, ml: float = 4.0, seconds: float = 6.0, seed: int = 1) -> list[Run]:
    """Return results whose volumes and times spread by 10 % around their means."""
    chance = random.Random(seed)
    return [
        Run(
            at=T0 + at,
            seconds=chance.gauss(seconds, seconds / 10),
            volumes_ml={"Hippocampus": chance.gauss(ml, ml / 10), "Absent": 0.0},
        )
        for at in range(count)
    ]


def refused(count: int) -> list[Run]:
    return [Run(at=T0, seconds=None, volumes_ml={}) for _ in range(count)]


def drifts(*parts: list[Run]) -> list[Condition]:
    series = tuple(run for part in parts for run in part)
    of_rule = RuleRuns(rule="heads", package="tiny-mr/1.0", size="small", runs=series)
    snapshot = replace(healthy(), facts=replace(NO_FACTS, runs=(of_rule,)))
    return list(conditions(snapshot))


@pytest.mark.parametrize("seed", range(40))
def test_results_like_those_before_are_no_drift(seed: int) -> None:
    assert drifts(runs(200, seed=seed), runs(NEWEST, seed=seed + 1000)) == []


def test_volumes_that_shift() -> None:
    (condition,) = drifts(runs(200), runs(NEWEST, ml=3.0, seed=2))
    assert (condition.code, condition.subject) == (ConditionCode.DRIFT, "heads")
    assert condition.text.startswith(
        "The 20 newest series of rule heads (tiny-mr/1.0, size small) are unlike the 200 before: "
        "Hippocampus "
    )
    assert "segnode rules pause heads" in condition.advice


def test_times_that_grow_and_not_those_that_fall() -> None:
    (condition,) = drifts(runs(100), runs(NEWEST, seconds=12.0, seed=2))
    assert "a segmentation takes 1" in condition.text
    assert drifts(runs(100), runs(NEWEST, seconds=3.0, seed=2)) == []


def test_series_that_become_unsuitable() -> None:
    (condition,) = drifts(runs(90), refused(10), runs(10, seed=2), refused(10))
    assert "50% are unsuitable instead of 10%" in condition.text
    assert drifts(runs(50), refused(50), runs(10, seed=2), refused(10)) == []


def test_a_structure_that_appears() -> None:
    seen = [replace(run, volumes_ml={**run.volumes_ml, "Absent": 0.5}) for run in runs(NEWEST)]
    (condition,) = drifts(runs(100), seen)
    assert "Absent 0.5 ml instead of 0" in condition.text
    barely = [replace(run, volumes_ml={**run.volumes_ml, "Absent": 0.05}) for run in runs(NEWEST)]
    assert drifts(runs(100), barely) == []


@pytest.mark.parametrize("before", [0, 1, LEAST_BEFORE - 1])
def test_a_short_history_is_none(before: int) -> None:
    assert drifts(runs(before), runs(NEWEST, ml=1.0)) == []


def test_many_shifts_are_counted() -> None:
    def with_many(part: list[Run], ml: float) -> list[Run]:
        volumes = {f"S{number}": ml for number in range(6)}
        return [replace(run, volumes_ml=volumes) for run in part]

    (condition,) = drifts(with_many(runs(100), 4.0), with_many(runs(NEWEST), 8.0))
    assert "3 other volumes" in condition.text
