"""Several processes claim jobs from one database file; SQLAlchemy's default mode fails this."""

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import sqlalchemy as sa

from node import queue, schema
from node.states import Kind, State
from tests.support.rows import T0, a_segment_job, an_arrival

JOBS, PROCESSES = 300, 3
WORKER = """
import sys
from node import queue, schema
from node.states import Kind
from tests.support.rows import SEGMENTED, T0, a_delivery
engine = schema.open_database(sys.argv[1])
while job := queue.claim(engine, Kind.SEGMENT, sys.argv[2], T0, 60.0):
    print(job.id)
    queue.finish_segment(engine, job, SEGMENTED, [a_delivery()], T0)
"""


@pytest.mark.slow
def test_no_job_is_claimed_twice_by_several_processes(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"
    engine = schema.open_database(path)
    for n in range(JOBS):
        queue.record_arrival(engine, an_arrival(n), a_segment_job(n), T0)
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, str(path), f"worker-{n}"],
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parents[3],
            text=True,
        )
        for n in range(PROCESSES)
    ]
    claimed = Counter(line for worker in workers for line in worker.communicate()[0].split())
    assert [worker.returncode for worker in workers] == [0] * PROCESSES
    assert len(claimed) == JOBS
    assert set(claimed.values()) == {1}
    counts = queue.counts(engine)
    assert counts[Kind.SEGMENT, State.DONE] == counts[Kind.DELIVER, State.QUEUED] == JOBS
    with schema.read_transaction(engine) as connection:
        events = connection.execute(
            sa.select(schema.events.c.event, sa.func.count()).group_by(schema.events.c.event)
        )
        assert {event: count for event, count in events} == {  # noqa: C416
            "received": JOBS, "planned": JOBS, "queued": 2 * JOBS, "claim": JOBS, "finish": JOBS,
        }  # fmt: skip
