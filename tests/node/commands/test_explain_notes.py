"""`explain` states what a reader of a result must know."""

from pathlib import Path

import msgspec

from node import queue, schema
from node.config import load
from node.imaging.volume import NOTHING_DETECTED
from tests.support.commanding import Run
from tests.support.rows import SEGMENTED, T0, claim, record


def test_an_empty_result_is_explained_and_in_the_history(run: Run, configured: Path) -> None:
    config = load(configured)
    engine = schema.open_configured(config.data)
    record(engine)
    empty = msgspec.structs.replace(SEGMENTED, notes=(NOTHING_DETECTED,))
    queue.finish_segment(engine, claim(engine), empty, [], T0 + 2)
    status, explained, _ = run("explain", "1.2.3", "--config", str(configured))
    assert status == 0
    assert NOTHING_DETECTED in explained
    assert any(NOTHING_DETECTED in event.detail for event in queue.events_of(engine))
