"""Keep the ending of each arrival beside it, so that a search for endings uses an index."""

from collections.abc import Iterable

import sqlalchemy as sa

from node.queue import rows
from node.schema import arrivals, jobs
from node.states import ArrivalOutcome, Ending, Kind, ending


def first_ending(outcome: ArrivalOutcome) -> Ending:
    """Return the ending of an arrival before its job, if it gets one, is known."""
    planned = outcome is ArrivalOutcome.PLANNED
    return Ending.IN_PROGRESS if planned else ending(outcome)


def update_endings(connection: sa.Connection, segment_ids: Iterable[int]) -> None:
    """Set the ending of every arrival that has one of these segmentations as its job."""
    for segment_id in sorted(set(segment_ids)):
        this = (jobs.c.id == segment_id) | (jobs.c.parent_id == segment_id)
        job_rows = connection.execute(sa.select(jobs).where(this)).mappings().all()
        of_result = [rows.job(row) for row in job_rows]
        (segment,) = (job.state for job in of_result if job.kind is Kind.SEGMENT)
        deliveries = [job for job in of_result if job.kind is Kind.DELIVER]
        reached = ending(
            ArrivalOutcome.PLANNED,
            segment,
            [job.state for job in deliveries],
            is_retracted=rows.is_retracted(deliveries),
        )
        connection.execute(
            sa.update(arrivals)
            .where(arrivals.c.job_id == segment_id, arrivals.c.ending != reached.value)
            .values(ending=reached.value)
        )
