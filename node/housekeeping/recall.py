"""Remember which series folders are unchanged or failed, so that the sweep skips them.

Promises: every entry expires; a folder that cannot be read is tried again with growing pauses.
Leaves to the sweep: reading the folders.
"""

import os

from node.inbox import SeriesFolder

TICK_S = 2.0  # coarsest clock of a file system: two changes within it may look like one
RECHECK_S = 600.0  # some network file systems do not show a rename at all
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 60.0

TRANSIENT = (OSError, MemoryError)  # faults of this machine, not of the images


def shows_changes(folder: SeriesFolder, seen_at: float) -> bool:
    """Return whether `mtime_ns` shows a change after `seen_at`, when `folder` was listed."""
    return abs(seen_at - folder.mtime_ns / 1e9) >= TICK_S


class Settled:
    """Decided series, and until when each entry is valid."""

    def __init__(self) -> None:
        """Start empty: after a restart every folder is read."""
        self._until: dict[str, tuple[int, float]] = {}  # series key -> mtime_ns, unix time

    def add(self, folder: SeriesFolder, now: float) -> None:
        """Remember that all files that were listed at `now` are decided."""
        if shows_changes(folder, now):
            # spread by key, so that not all entries expire at once after a start
            pause_s = RECHECK_S * (0.5 + int(folder.key[:4], 16) / 0x20000)
        else:
            pause_s = TICK_S
        self._until[folder.key] = (folder.mtime_ns, now + pause_s)

    def holds(self, folder: SeriesFolder, now: float) -> bool:
        """Return whether the folder is unchanged."""
        mtime_ns, until = self._until.get(folder.key, (0, 0.0))
        return folder.mtime_ns == mtime_ns and now < until

    def keep_only(self, keys: set[str]) -> None:
        """Drop entries of deleted folders."""
        self._until = {key: until for key, until in self._until.items() if key in keys}


class Retries:
    """Series that could not be read, and when to try again."""

    def __init__(self) -> None:
        """Start empty."""
        self._pauses: dict[str, tuple[float, float]] = {}  # series key -> pause, until

    def add(self, key: str, now: float) -> float:
        """Add a failure; return the seconds until the next try."""
        before = self._pauses.get(key, (0.0, 0.0))[0]
        pause_s = min(LONGEST_PAUSE_S, 2 * before or FIRST_PAUSE_S)
        self._pauses[key] = (pause_s, now + pause_s)
        return pause_s

    def is_pausing(self, key: str, now: float) -> bool:
        """Return whether it is too early to try again."""
        return now < self._pauses.get(key, (0.0, 0.0))[1]

    def end(self, key: str) -> None:
        """Drop the entry after a success."""
        self._pauses.pop(key, None)


def describe(error: OSError | MemoryError) -> str:
    """Return the error's text without a path."""
    number = error.errno if isinstance(error, OSError) else None
    return os.strerror(number) if number else type(error).__name__
