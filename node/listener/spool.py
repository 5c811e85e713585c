"""A data set on its way in: small ones in memory, large ones in a nameless file beside the inbox.

Chosen over pynetdicom's STORE_RECV_CHUNKED_DATASET, which is one global switch, writes patient data
into /tmp, flushes after each fragment, leaves its files behind when killed, and has no limit.
Promises: memory stays below `IN_MEMORY_BYTES` for each association, whatever is sent; the disk is
asked for room before each step of `STEP_BYTES`, so that no instance eats what is kept free.
"""

import mmap
import tempfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import IO

from node.errors import DiskLow

IN_MEMORY_BYTES = 16 << 20  # most instances; times node.max_associations, half a gibibyte
STEP_BYTES = 16 << 20  # between two looks at the free space


class Spool(BytesIO):
    """Write-only until `view`. pynetdicom insists on a BytesIO."""

    def __init__(
        self, folder: Path, most_bytes: int, check_space: Callable[[int], None] = lambda _: None
    ) -> None:
        """Take up to `most_bytes`; what is too large for memory goes to `folder`.

        `check_space` raises `DiskLow` where that many more bytes must not be written.
        """
        super().__init__()
        self._folder = folder
        self._most_bytes = most_bytes
        self._check_space = check_space
        self._checked_bytes = 0  # of the file, for which there was room
        self._file: IO[bytes] | None = None
        self._map: mmap.mmap | None = None
        self.received_bytes = 0
        self.problem: OSError | DiskLow | None = None

    @property
    def is_too_large(self) -> bool:
        """Whether more came than may; the bytes are gone then."""
        return self.received_bytes > self._most_bytes

    def write(self, fragment: object) -> int:
        """Add a fragment; beyond the limit, or with the disk full or low, it is only counted."""
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
            self._drop()  # at once: others may need the room
        return size

    def view(self) -> memoryview:
        """Return all that was written, to be released before `close`.

        Raises:
            OSError: the disk did not take it.
            DiskLow: it could have, but that room is to stay free.
        """
        if self.problem:
            raise self.problem
        if self._file is None:
            return self.getbuffer()
        self._file.flush()
        self._map = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ)
        return memoryview(self._map)

    def close(self) -> None:
        """Free memory and file now: the association may stay idle for long."""
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
