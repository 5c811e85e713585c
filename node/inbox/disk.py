"""What survives power loss: write aside, fsync, give it its name, fsync the folder.

Promises: a name appears only with its whole content.
"""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def aside(folder: Path, *parts: bytes | memoryview) -> Iterator[Path]:
    """Write a file under a passing name and fsync it; whatever happens, that name goes away."""
    path = folder / f"{uuid.uuid4().hex}.part"
    try:
        with path.open("xb") as file:
            for part in parts:
                file.write(part)
            file.flush()
            os.fsync(file.fileno())
        yield path
    finally:
        path.unlink(missing_ok=True)


def replace(path: Path, content: bytes, passing: Path) -> None:
    """Give `path` this content at once; `passing` is a folder of the same file system."""
    with aside(passing, content) as written:
        written.replace(path)


def sync_folder(folder: Path) -> None:
    """Make the names in `folder` durable; a file's own fsync does not."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
