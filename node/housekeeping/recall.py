"""What the sweep remembers of a series, so that it looks only where something may have changed.

Promises: no memory is believed for ever; a machine in trouble is asked again, ever more rarely.
Leaves to the sweep: looking.
"""

import os

from node.inbox import SeriesFolder

TICK_S = 2.0  # of the coarsest clock of a file system: two changes within it may show as one
RECHECK_S = 600.0  # a rename need not show at all on some network file systems
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 60.0

PASSING = (OSError, MemoryError)  # say something about this machine, nothing about the images


def shows_changes(folder: SeriesFolder, seen_at: float) -> bool:
    """Say whether a change after `seen_at`, when `folder` was listed, shows in its `mtime_ns`."""
    return abs(seen_at - folder.mtime_ns / 1e9) >= TICK_S


class Settled:
    """Series that were decided, and until when that is believed."""

    def __init__(self) -> None:
        """Know nothing: after a start every folder is looked into."""
        self._until: dict[str, tuple[int, float]] = {}  # series key -> mtime_ns, unix time

    def add(self, folder: SeriesFolder, now: float) -> None:
        """Remember that all that was listed at `now` has been decided."""
        if shows_changes(folder, now):
            # spread by key: after a start all would be due at once
            pause_s = RECHECK_S * (0.5 + int(folder.key[:4], 16) / 0x20000)
        else:
            pause_s = TICK_S
        self._until[folder.key] = (folder.mtime_ns, now + pause_s)

    def holds(self, folder: SeriesFolder, now: float) -> bool:
        """Say whether nothing can have come since."""
        mtime_ns, until = self._until.get(folder.key, (0, 0.0))
        return folder.mtime_ns == mtime_ns and now < until

    def keep_only(self, keys: set[str]) -> None:
        """Forget folders that are gone."""
        self._until = {key: until for key, until in self._until.items() if key in keys}


class Troubles:
    """Series that could not be looked at, and when to try again."""

    def __init__(self) -> None:
        """Begin without any."""
        self._pauses: dict[str, tuple[float, float]] = {}  # series key -> pause, until

    def add(self, key: str, now: float) -> float:
        """Remember one more failure; return for how many seconds the series is left alone."""
        before = self._pauses.get(key, (0.0, 0.0))[0]
        pause_s = min(LONGEST_PAUSE_S, 2 * before or FIRST_PAUSE_S)
        self._pauses[key] = (pause_s, now + pause_s)
        return pause_s

    def rests(self, key: str, now: float) -> bool:
        """Say whether it is too early to try again."""
        return now < self._pauses.get(key, (0.0, 0.0))[1]

    def end(self, key: str) -> None:
        """Forget it: it worked."""
        self._pauses.pop(key, None)


def in_words(error: OSError | MemoryError) -> str:
    """Name what the machine said, without a path."""
    number = error.errno if isinstance(error, OSError) else None
    return os.strerror(number) if number else type(error).__name__
