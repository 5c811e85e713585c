"""Choose the folders that a sweep visits: those that changed or are due, and sometimes all.

Promises: a full scan visits every folder that is not settled, so a lost mark delays a series and
loses nothing; a folder that was to be visited is visited again if the sweep fails.
"""

import math
from typing import NamedTuple

from node.housekeeping.recall import Settled
from node.housekeeping.snapshot import SeriesSnapshot
from node.inbox import Inbox, SeriesFolder, read_markers


class Pace(NamedTuple):
    """How often a sweep does what takes long, in seconds."""

    scan_s: float = 0.0  # between two scans of all folders; 0: at each sweep
    reread_s: float = 0.0  # between two readings of a series that an association still sends


EAGER = Pace()


class Visits:
    """The folders to visit."""

    def __init__(self, inbox: Inbox, settled: Settled, pace: Pace) -> None:
        """Start with a full scan."""
        self._inbox, self._settled, self._pace = inbox, settled, pace
        self._scan_at = -math.inf  # steady time
        self._open: set[str] = set()  # series that changed or are not settled

    def begin(self, steady: float) -> tuple[list[SeriesFolder], set[str] | None]:
        """Return the folders to visit, by key, and after a full scan the keys of all folders."""
        self._open |= self._inbox.changes.take()  # before the folders are listed
        keys = None
        if not self._pace.scan_s or steady >= self._scan_at:
            folders = self._inbox.series_folders()
            keys = {folder.key for folder in folders}
            self._scan_at = steady + self._pace.scan_s
        else:
            self._open |= self._settled.take_due(steady)
            listed = map(self._inbox.series_folder, sorted(self._open))
            folders = [folder for folder in listed if folder is not None]
        visited = [folder for folder in folders if not self._settled.holds(folder, steady)]
        self._open = {folder.key for folder in visited}
        return visited, keys

    def end(self, visited: list[SeriesFolder], steady: float) -> None:
        """Remember which of the visited folders are not settled."""
        self._open = {folder.key for folder in visited if not self._settled.holds(folder, steady)}

    def was_just_read(
        self, snapshot: SeriesSnapshot | None, folder: SeriesFolder, now: float
    ) -> bool:
        """Return whether a series changed since it was read, just now, and is still being sent."""
        if snapshot is None or abs(now - snapshot.taken_at) >= self._pace.reread_s:
            return False
        has_changed = snapshot.folder.mtime_ns != folder.mtime_ns
        return has_changed and any(one.state == "open" for one in read_markers(folder.path))
