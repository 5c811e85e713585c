"""Fail deliveries to targets that are no longer configured: no thread would claim them."""

from collections.abc import Iterable

from sqlalchemy import Engine

from node import queue
from node.errors import Misconfigured
from node.states import Kind


def fail_unknown(
    engine: Engine, targets: Iterable[str], worker: str, lease_s: float, now: float
) -> None:
    """Fail the queued deliveries to `targets`, with what to do."""
    for target in targets:
        advice = "Add it to `targets` and retry the job, or leave the job failed."
        error = Misconfigured(f"target {target!r} is no longer configured", advice=advice)
        while job := queue.claim(engine, Kind.DELIVER, worker, now, lease_s, target):
            queue.fail(engine, job, error, now)
