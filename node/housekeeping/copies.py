"""Find images that arrived twice in different encodings, and keep one file of each.

Promises: only a file that decodes to the same image is set aside. The file that arrived first
stays, because a job may already name it. One call compares at most `MOST_BYTES` and one pair, so
that one series does not delay the others. Leaves to `node.reader`: the comparison of two images.
"""

from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

from node.errors import ReaderKilled
from node.inbox import Inbox, InstanceFile, SeriesFolder
from node.reader import Reader

MOST_BYTES = 32 << 20  # takes some tenths of a second, a few seconds if compressed
PAIR_BYTES = 1 << 19  # opening and parsing two files takes as long as comparing this much
MOST_CONTENTS = 8  # of one instance; a series with more is held without a comparison


class Copies:
    """Compares the files of one SOP Instance UID, and remembers which differ."""

    def __init__(self, inbox: Inbox, reader: Reader, most_bytes: int = MOST_BYTES) -> None:
        """Start without results: after a restart undecided files are compared again."""
        self._inbox = inbox
        self._reader = reader
        self._most_bytes = most_bytes
        self._differ: set[tuple[Path, Path]] = set()

    def set_aside(self, files: Sequence[InstanceFile], *, keep_last: bool = False) -> bool:
        """Compare some of `files`; return whether to list the folder again and go on.

        Of two copies the first stays, for a job may name it. `keep_last` keeps the last instead,
        so that results inherit what an archive coerced.

        Raises:
            ReaderKilled: comparing them killed the process that reads them.
            OSError: the disk fails; another try may work.
        """
        compared, changed = 0, False
        aside: set[Path] = set()
        for first, later in _pairs(files):
            if {first.path, later.path} & aside or (first.path, later.path) in self._differ:
                continue
            if compared > self._most_bytes:
                return True
            compared += first.bytes + later.bytes + PAIR_BYTES
            if self._reader.same_image(first.path, later.path):
                original, copy = (later, first) if keep_last else (first, later)
                self._inbox.set_aside(copy, original)
                aside.add(copy.path)
                changed = True
            else:
                self._differ.add((first.path, later.path))
        return changed

    def set_aside_all(self, folder: SeriesFolder, *, is_chosen: bool) -> None:
        """Compare all duplicated images; a death ends that where a person chose the versions."""
        try:
            while self.set_aside(self._inbox.instances(folder)):
                pass
        except ReaderKilled:
            if not is_chosen:
                raise

    def forget(self, folder: Path) -> None:
        """Drop the results of a decided series."""
        self._differ = {pair for pair in self._differ if pair[0].parent != folder}


def _pairs(files: Sequence[InstanceFile]) -> Iterator[tuple[InstanceFile, InstanceFile]]:
    """Yield each pair of files of one instance, the earlier one first."""
    for _, several in groupby(files, key=lambda file: file.sop_key):  # files are sorted by name
        in_time = sorted(several, key=lambda file: (file.first_ns, file.path.name))
        for at, later in enumerate(in_time if len(in_time) <= MOST_CONTENTS else ()):
            for first in in_time[:at]:
                yield first, later
