"""Keep the ending of each arrival beside it, so that a search for endings uses an index."""

from collections.abc import Iterable

import sqlalchemy as sa

from node.schema import arrivals, jobs
from node.states import ArrivalOutcome, Ending, Kind, State, ending


def first_ending(outcome: ArrivalOutcome) -> Ending:
    """Return the ending of an arrival before its job, if it gets one, is known."""
    planned = outcome is ArrivalOutcome.PLANNED
    return Ending.IN_PROGRESS if planned else ending(outcome)


def update_endings(connection: sa.Connection, segment_ids: Iterable[int]) -> None:
    """Set the ending of every arrival that has one of these segmentations as its job."""
    for segment_id in sorted(set(segment_ids)):
        this = (jobs.c.id == segment_id) | (jobs.c.parent_id == segment_id)
        ended = connection.execute(sa.select(jobs.c.kind, jobs.c.state).where(this)).all()
        (segment,) = (State(state) for kind, state in ended if kind == Kind.SEGMENT.value)
        deliveries = [State(state) for kind, state in ended if kind == Kind.DELIVER.value]
        reached = ending(ArrivalOutcome.PLANNED, segment, deliveries)
        connection.execute(
            sa.update(arrivals)
            .where(arrivals.c.job_id == segment_id, arrivals.c.ending != reached.value)
            .values(ending=reached.value)
        )
