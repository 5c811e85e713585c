"""`explain` states the caveats of a result."""

from pathlib import Path

import msgspec

from node import queue, schema
from node.caveats import NOTHING_DETECTED
from node.commands.terminal import local_time
from node.config import load
from node.errors import RefusedByTarget
from node.states import ArrivalOutcome, Kind
from tests.support.commanding import Run
from tests.support.rows import SEGMENTED, T0, a_delivery, an_arrival, claim, record


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


def test_each_target_has_its_state_reason_and_advice(run: Run, configured: Path) -> None:
    engine = schema.open_configured(load(configured).data)
    record(engine)
    deliveries = [a_delivery("pacs"), a_delivery("viewer")]
    queue.finish_segment(engine, claim(engine), SEGMENTED, deliveries, T0 + 2)
    job = queue.claim(engine, Kind.DELIVER, "s", T0 + 3, 30.0, "viewer")
    assert job is not None
    error = RefusedByTarget("the target refuses it", advice="Register our AE title there.")
    queue.fail(engine, job, error, T0 + 4)
    status, printed, _ = run("explain", "1.2.3", "--config", str(configured))
    assert status == 0
    lines = [line.strip() for line in printed.splitlines()]
    assert "job 2, the SEG to pacs: queued" in lines
    at = lines.index("job 3, the SEG to viewer: failed: the target refuses it")
    assert lines[at + 1] == "Register our AE title there."
    assert any(local_time(T0 + 4) in line and " failed " in line for line in lines)
    assert any(" started " in line and " node " in line for line in lines), "events in words"
