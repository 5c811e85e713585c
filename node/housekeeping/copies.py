"""Images that came a second time in another encoding: one file of each stands for both.

Promises: only what decodes to the same image is set aside, and the file that came first stays, for
a job may already name it; a look compares `MOST_BYTES` and a pair at most, so that one series
holds up no other. Leaves to `node.series`: what the same image is.
"""

from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

from node.inbox import Inbox, InstanceFile
from node.series import same_image

MOST_BYTES = 32 << 20  # some tenths of a second; compressed ones a few seconds
PAIR_BYTES = 1 << 19  # to open and parse two files takes as long as to compare so much
MOST_CONTENTS = 8  # of one instance; a sender that invents more gets its series held uncompared


class Copies:
    """Compares files of one SOP Instance UID, and remembers which differ."""

    def __init__(self, inbox: Inbox, most_bytes: int = MOST_BYTES) -> None:
        """Know nothing: after a start, what is not decided is compared once more."""
        self._inbox = inbox
        self._most_bytes = most_bytes
        self._differ: set[tuple[Path, Path]] = set()

    def set_aside(self, files: Sequence[InstanceFile]) -> bool:
        """Compare some of `files`; say whether to list the folder again and go on.

        Raises:
            OSError: the disk is in trouble; trying again may work.
        """
        compared, changed = 0, False
        gone: set[Path] = set()
        for first, later in _pairs(files):
            if {first.path, later.path} & gone or (first.path, later.path) in self._differ:
                continue
            if compared > self._most_bytes:
                return True
            compared += first.bytes + later.bytes + PAIR_BYTES
            if same_image(first.path, later.path):
                self._inbox.set_aside(later, first)
                gone.add(later.path)
                changed = True
            else:
                self._differ.add((first.path, later.path))
        return changed

    def forget(self, folder: Path) -> None:
        """Drop what was remembered of a series that is decided."""
        self._differ = {pair for pair in self._differ if pair[0].parent != folder}


def _pairs(files: Sequence[InstanceFile]) -> Iterator[tuple[InstanceFile, InstanceFile]]:
    """Return each two contents of an instance, the one that came first before the other."""
    for _, several in groupby(files, key=lambda file: file.sop_key):  # files come by name
        in_time = sorted(several, key=lambda file: (file.first_ns, file.path.name))
        for at, later in enumerate(in_time if len(in_time) <= MOST_CONTENTS else ()):
            for first in in_time[:at]:
                yield first, later
