"""The newest series of each rule, as the condition `drift` compares them."""

import sqlalchemy as sa

from node import queue
from node.queue import SegmentResult
from node.queue.runs import rule_runs
from node.states import ArrivalOutcome, Kind
from tests.support.rows import T0, a_segment_job, an_arrival


def finish(engine: sa.Engine, number: int, **arrival: str) -> None:
    at = T0 + 10.0 * number
    row = an_arrival(number, **({"rule": "heads", "package": "p/1.0", "size": "small"} | arrival))
    queue.record_arrival(engine, row, a_segment_job(number), at)
    job = queue.claim(engine, Kind.SEGMENT, "w", at, 30.0)
    assert job is not None
    result = SegmentResult(objects=(), volumes_ml={"A": 1.0}, seconds={"read": 1.0, "network": 2.0})
    queue.finish_segment(engine, job, result, [], at + 1)


def refuse(engine: sa.Engine, number: int) -> None:
    row = an_arrival(
        number, rule="heads", package="p/1.0", size="auto", outcome=ArrivalOutcome.UNSUITABLE,
        code="missing-slice", reason="r",
    )  # fmt: skip
    queue.record_arrival(engine, row, None, T0 + 10.0 * number)


def runs_of(engine: sa.Engine) -> list[tuple[str, str, list[float | None]]]:
    with engine.connect() as connection:
        return [
            (one.rule, one.package, [run.seconds for run in one.runs])
            for one in rule_runs(connection)
        ]


def test_results_and_unsuitable_series_in_order_of_time(engine: sa.Engine) -> None:
    finish(engine, 1)
    refuse(engine, 2)
    finish(engine, 3)
    assert runs_of(engine) == [("heads", "p/1.0", [3.0, None, 3.0])]


def test_another_package_or_size_begins_anew(engine: sa.Engine) -> None:
    finish(engine, 1, package="p/0.9")
    finish(engine, 2, size="tiny")
    refuse(engine, 3)
    finish(engine, 4)
    finish(engine, 5, rule="others")
    assert sorted(runs_of(engine)) == [
        ("heads", "p/1.0", [None, 3.0]),
        ("others", "p/1.0", [3.0]),
    ]


def test_series_that_are_not_finished_or_have_no_rule_are_left_out(engine: sa.Engine) -> None:
    row = an_arrival(1, rule="heads", package="p/1.0", size="small")
    queue.record_arrival(engine, row, a_segment_job(1), T0)
    none = an_arrival(2, rule="", outcome=ArrivalOutcome.NO_RULE, code="no-rule")
    queue.record_arrival(engine, none, None, T0)
    assert runs_of(engine) == []
