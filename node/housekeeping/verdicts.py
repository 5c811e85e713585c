"""Record what key object selections of others say about our results.

A radiologist or an archive that rejects a result, or names it, stores a Key Object Selection; where
it comes back to the node, it becomes part of the history of that study.
"""

import sqlalchemy as sa

from node import queue
from node.dicom.key_objects import REJECTING_CODES
from node.housekeeping.snapshot import SeriesSnapshot


def record_verdicts(engine: sa.Engine, snapshot: SeriesSnapshot, now: float) -> int:
    """Record an event for each of our results that the series refers to; return their number."""
    count = 0
    for document in snapshot.findings.key_objects if snapshot.findings else ():
        jobs = {}
        for uid in document.references:
            job = queue.delivery_of(engine, snapshot.study, uid)
            if job is not None:
                jobs[job.parent_id] = job
        meaning = REJECTING_CODES.get(document.title)
        event = queue.RESULT_SELECTED if meaning is None else queue.RESULT_REJECTED
        known = meaning or f"title {document.title or 'unknown'}"
        code = f" ({document.title}, DCM)" if meaning else ""
        for job in jobs.values():
            detail = f"{known}{code}, from {snapshot.caller or 'an unknown sender'}"
            queue.record_verdict(engine, job, event, detail, now)
            count += 1
    return count
