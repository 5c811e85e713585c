"""Offer a series that settles to the segmenter, once, and remember when it was offered."""

from pathlib import Path

from node import ahead
from node.ahead import Offer
from node.housekeeping.snapshot import SeriesSnapshot
from node.queue import NewSegmentJob


class Offers:
    """The series that were offered and are not decided yet."""

    def __init__(self, data: Path) -> None:
        """Start without any; the loop removes the offers of the process that ran before."""
        self._data = data
        self._offered: dict[str, tuple[str, float]] = {}  # series key -> inputs digest, moment

    def holds(self, snapshot: SeriesSnapshot) -> bool:
        """Return whether the series was offered; withdraw the offer if its images changed.

        A series that changed is not offered again before its decision: a sender in many small
        associations would have its images segmented again and again.
        """
        key = snapshot.folder.key
        if key not in self._offered:
            return False
        if self._offered[key][0] != snapshot.digest:
            ahead.withdraw(self._data, key)
        return True

    def add(self, snapshot: SeriesSnapshot, job: NewSegmentJob | None, now: float) -> None:
        """Offer the job of a series that settles; None: it would get no job."""
        self._offered[snapshot.folder.key] = (snapshot.digest, now)
        if job is not None:
            ahead.offer(self._data, Offer(dedup_key=job.dedup_key, payload=job.payload))

    def created_at(self, snapshot: SeriesSnapshot, now: float) -> float:
        """Return the time of the result: when these images were offered, else `now`."""
        digest, at = self._offered.get(snapshot.folder.key, ("", now))
        return at if digest == snapshot.digest else now

    def remove(self, key: str) -> None:
        """Forget a series that was decided or deleted."""
        if self._offered.pop(key, None) is not None:
            ahead.withdraw(self._data, key)

    def keep_only(self, keys: set[str]) -> None:
        """Forget series whose folders were deleted."""
        for key in self._offered.keys() - keys:
            self.remove(key)
