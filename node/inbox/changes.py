"""Which series changed: an empty file for each, so that the sweep need not look at all folders.

Not durable, and nothing depends on it: a mark that is lost costs the time until the next full scan.
"""

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path


class Changes:
    """The marks of changed series: the listener leaves them, the sweep takes them."""

    def __init__(self, folder: Path) -> None:
        """Keep the marks in `folder`, which exists."""
        self._folder = folder

    def mark(self, keys: Iterable[str]) -> None:
        """Mark series, after they have changed; a failing disk must not refuse an image."""
        for key in keys:
            with contextlib.suppress(OSError):
                os.close(
                    os.open(self._folder / key, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600)
                )

    def take(self) -> set[str]:
        """Return the marked series, and remove the marks: a later change leaves another one."""
        keys = {path.name for path in self._folder.iterdir()}
        for key in keys:
            with contextlib.suppress(OSError):
                (self._folder / key).unlink()
        return keys
