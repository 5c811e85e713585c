"""Buffer a data set while it is received: small ones in memory, large ones in a nameless file.

Guarantees: each association uses at most `IN_MEMORY_BYTES` of memory; free space is checked before
each step of `STEP_BYTES`, so that no instance uses the space that must stay free. pynetdicom's
STORE_RECV_CHUNKED_DATASET is global, writes patient data into /tmp, flushes after each fragment,
leaves its files behind when killed, and has no limit.
"""

import mmap
import tempfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import IO

from node.errors import DiskLow

IN_MEMORY_BYTES = 16 << 20  # most instances; times node.max_associations, half a gibibyte
STEP_BYTES = 16 << 20  # between two checks of the free space


class Spool(BytesIO):
    """A write-only buffer until `view`; pynetdicom requires a BytesIO."""

    def __init__(
        self, folder: Path, most_bytes: int, check_space: Callable[[int], None] = lambda _: None
    ) -> None:
        """Accept up to `most_bytes`; data sets that are too large for memory go to `folder`.

        `check_space` raises `DiskLow` if that many more bytes must not be written.
        """
        super().__init__()
        self._folder = folder
        self._most_bytes = most_bytes
        self._check_space = check_space
        self._checked_bytes = 0  # of the file, for which free space has been checked
        self._file: IO[bytes] | None = None
        self._map: mmap.mmap | None = None
        self.received_bytes = 0
        self.problem: OSError | DiskLow | None = None

    @property
    def is_too_large(self) -> bool:
        """Whether more than the limit was received; then the bytes are discarded."""
        return self.received_bytes > self._most_bytes

    def write(self, fragment: object) -> int:
        """Add a fragment; beyond the limit, or with a full or low disk, only count its bytes."""
        assert isinstance(fragment, bytes | bytearray | memoryview)
        size = len(fragment)
        self.received_bytes += size
        if self.is_too_large or self.problem:
            self._drop()
            return size
        try:
            if self._file is None and self.received_bytes <= IN_MEMORY_BYTES:
                return super().write(fragment)
            if self.received_bytes > self._checked_bytes:
                step = max(STEP_BYTES, self.received_bytes - self._checked_bytes)
                self._check_space(step)
                self._checked_bytes += step
            self._spill().write(fragment)
        except (OSError, DiskLow) as exc:
            self.problem = exc
            self._drop()  # at once: other associations may need the space
        return size

    def view(self) -> memoryview:
        """Return the whole data set; release the view before `close`.

        Raises:
            OSError: the disk is full or failing.
            DiskLow: the remaining space must stay free.
        """
        if self.problem:
            raise self.problem
        if self._file is None:
            return self.getbuffer()
        self._file.flush()
        self._map = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ)
        return memoryview(self._map)

    def close(self) -> None:
        """Free memory and file; the association may stay idle for long afterwards."""
        self._drop()
        super().close()

    def _spill(self) -> IO[bytes]:
        if self._file is None:
            self._file = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115  closed in `_drop`
            with self.getbuffer() as so_far:
                self._file.write(so_far)
            self.seek(0)
            self.truncate()
        return self._file

    def _drop(self) -> None:
        if self._map is not None:
            self._map.close()
            self._map = None
        if self._file is not None:
            self._file.close()
            self._file = None
        if not self.closed:
            self.seek(0)
            self.truncate()
