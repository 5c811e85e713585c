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


class LastChanges:
    """When each undecided folder changed last, in steady time.

    A recorded time in the future counts as the moment when it was read first.
    """

    def __init__(self) -> None:
        """Start empty: after a restart the times of the folders count."""
        self._known: dict[str, tuple[int, float]] = {}  # series key -> mtime_ns, steady time

    def of(self, folder: SeriesFolder, now: float, steady: float) -> float:
        """Return the time of the last change of `folder`, which was listed at `now`."""
        mtime_ns, at = self._known.get(folder.key, (-1, 0.0))
        if mtime_ns != folder.mtime_ns:
            at = steady - max(0.0, now - folder.mtime_ns / 1e9)
            self._known[folder.key] = (folder.mtime_ns, at)
        return at

    def keep_only(self, keys: set[str]) -> None:
        """Drop entries of deleted folders."""
        self._known = {key: known for key, known in self._known.items() if key in keys}


class Settled:
    """Decided series, and until when each entry is valid."""

    def __init__(self) -> None:
        """Start empty: after a restart every folder is read."""
        self._until: dict[str, tuple[int, float]] = {}  # series key -> mtime_ns, steady time
        self._soon: set[str] = set()  # those whose folder may have changed without showing it

    def add(self, folder: SeriesFolder, now: float, steady: float) -> None:
        """Remember that all files that were listed at `now` are decided."""
        if shows_changes(folder, now):
            # spread by key, so that not all entries expire at once after a start
            pause_s = RECHECK_S * (0.5 + int(folder.key[:4], 16) / 0x20000)
        else:
            pause_s = TICK_S
            self._soon.add(folder.key)
        self._until[folder.key] = (folder.mtime_ns, steady + pause_s)

    def holds(self, folder: SeriesFolder, steady: float) -> bool:
        """Return whether the folder is unchanged."""
        mtime_ns, until = self._until.get(folder.key, (0, 0.0))
        return folder.mtime_ns == mtime_ns and steady < until

    def take_due(self, steady: float) -> set[str]:
        """Return, once, the series whose folder is to be compared again after the coarsest tick."""
        due = {key for key in self._soon if steady >= self._until.get(key, (0, 0.0))[1]}
        self._soon -= due
        return due

    def keep_only(self, keys: set[str]) -> None:
        """Drop entries of deleted folders."""
        self._soon &= keys
        self._until = {key: until for key, until in self._until.items() if key in keys}


class Retries:
    """Series that could not be read, and when to try again."""

    def __init__(self) -> None:
        """Start empty."""
        self._pauses: dict[str, tuple[float, float]] = {}  # series key -> pause, until

    def add(self, key: str, steady: float) -> float:
        """Add a failure; return the seconds until the next try."""
        before = self._pauses.get(key, (0.0, 0.0))[0]
        pause_s = min(LONGEST_PAUSE_S, 2 * before or FIRST_PAUSE_S)
        self._pauses[key] = (pause_s, steady + pause_s)
        return pause_s

    def is_pausing(self, key: str, steady: float) -> bool:
        """Return whether it is too early to try again."""
        return steady < self._pauses.get(key, (0.0, 0.0))[1]

    def end(self, key: str) -> None:
        """Drop the entry after a success."""
        self._pauses.pop(key, None)


def describe(error: OSError | MemoryError) -> str:
    """Return the error's text without a path."""
    number = error.errno if isinstance(error, OSError) else None
    return os.strerror(number) if number else type(error).__name__
