"""Earlier decisions about a series, as the database has them."""

from collections.abc import Sequence

from sqlalchemy import Engine

from node import queue
from node.inbox import InstanceFile, SeriesFolder, closed_after, inputs_digest


def is_recorded(engine: Engine, folder: SeriesFolder) -> bool:
    """Return whether earlier images of the series got a decision, whose job may name them."""
    return bool(queue.arrivals_of(engine, series_key=folder.key))


def same_images(
    engine: Engine, folder: SeriesFolder, files: Sequence[InstanceFile]
) -> queue.Arrival | None:
    """Return the decision about the same images; None if there is none."""
    arrivals = queue.arrivals_of(engine, series_key=folder.key)
    digest = inputs_digest(files) if arrivals else ""
    return next((arrival for arrival in arrivals if arrival.inputs_digest == digest), None)


def record_resent(engine: Engine, folder: SeriesFolder, arrival: queue.Arrival) -> None:
    """Record in the history that decided images were resent."""
    if folder.mtime_ns / 1e9 > arrival.planned_at:
        at = closed_after(folder.path, arrival.planned_at)
        if at is not None:
            queue.record_resent(engine, arrival, at)
