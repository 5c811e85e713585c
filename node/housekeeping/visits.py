"""Choose the folders that a sweep visits: those that changed or are due, and sometimes all.

Promises: a full scan visits every folder that is not settled, so a lost mark delays a series and
loses nothing; a folder that was to be visited is visited again if the sweep fails.
"""

import math

from node.housekeeping.recall import Settled
from node.inbox import Inbox, SeriesFolder


class Visits:
    """The folders to visit."""

    def __init__(self, inbox: Inbox, settled: Settled, scan_s: float) -> None:
        """Scan all folders every `scan_s` seconds; 0: at each sweep."""
        self._inbox, self._settled, self._scan_s = inbox, settled, scan_s
        self._scan_at = -math.inf  # steady time
        self._open: set[str] = set()  # series that changed or are not settled

    def begin(self, steady: float) -> tuple[list[SeriesFolder], set[str] | None]:
        """Return the folders to visit, by key, and after a full scan the keys of all folders."""
        self._open |= self._inbox.changes.take()  # before the folders are listed
        keys = None
        if not self._scan_s or steady >= self._scan_at:
            folders = self._inbox.series_folders()
            keys = {folder.key for folder in folders}
            self._scan_at = steady + self._scan_s
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
