"""`explain` states what a reader of a result must know."""

from pathlib import Path

import msgspec

from node import queue, schema
from node.caveats import NOTHING_DETECTED
from node.config import load
from node.states import ArrivalOutcome
from tests.support.commanding import Run
from tests.support.rows import SEGMENTED, T0, an_arrival, claim, record


def test_an_empty_result_is_explained_and_in_the_history(run: Run, configured: Path) -> None:
    config = load(configured)
    engine = schema.open_configured(config.data)
    record(engine)
    empty = msgspec.structs.replace(SEGMENTED, caveats=(NOTHING_DETECTED,))
    queue.finish_segment(engine, claim(engine), empty, [], T0 + 2)
    status, explained, _ = run("explain", "1.2.3", "--config", str(configured))
    assert status == 0
    assert NOTHING_DETECTED.text in explained
    assert "nothing detected" in run("status", "--config", str(configured))[1]
    assert any(NOTHING_DETECTED.text in event.detail for event in queue.events_of(engine))


def test_the_reasons_of_earlier_rules_are_explained(run: Run, configured: Path) -> None:
    engine = schema.open_configured(load(configured).data)
    says_none = an_arrival(
        outcome=ArrivalOutcome.NO_RULE, code="rule-says-none", reason="none", rule="rest"
    )
    reasons = "brain: modality is CT, not MR"
    queue.record_arrival(engine, says_none, None, T0, [(queue.EARLIER_RULES, reasons)])
    status, explained, _ = run("explain", "1.2.3", "--config", str(configured))
    assert status == 0
    assert f"earlier rules did not match: {reasons}" in explained
