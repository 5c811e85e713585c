"""Durable writes: a file that has its name is complete, and survives a kill and a power loss.

Every write goes to a temporary file that is fsynced and then renamed; the folder is fsynced last,
because a new name alone can be lost. A kill before the rename leaves the old file as it was.
"""

import contextlib
import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

TEMPORARY_SUFFIX = ".part"


@contextmanager
def replacing(path: Path, temporary_folder: Path | None = None) -> Iterator[BinaryIO]:
    """Open a binary file that becomes `path` when the block ends.

    If the block raises, `path` keeps its old content. The temporary file is made in
    `temporary_folder`, which must be on the same file system (default: the folder of `path`).

    Raises:
        OSError: the disk is full, or the folder cannot be written to.
    """
    temporary = _temporary_path(temporary_folder or path.parent)
    try:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        publish(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write(path: Path, content: bytes, temporary_folder: Path | None = None) -> None:
    """Replace the content of `path` in one step; see `replacing`.

    Raises:
        OSError: as `replacing`.
    """
    with replacing(path, temporary_folder) as file:
        file.write(content)


@contextmanager
def temporary(folder: Path, *parts: bytes | memoryview) -> Iterator[Path]:
    """Write and fsync a temporary file in `folder`, and remove its temporary name afterwards.

    The block may give the file a final name: by `publish`, or by a hard link.

    Raises:
        OSError: the disk is full, or the folder cannot be written to.
    """
    path = _temporary_path(folder)
    try:
        with path.open("xb") as file:
            for part in parts:
                file.write(part)
            file.flush()
            os.fsync(file.fileno())
        yield path
    finally:
        path.unlink(missing_ok=True)


def publish(written: Path, path: Path) -> None:
    """Rename a complete, fsynced file to `path`, replacing it, and fsync the folder."""
    written.replace(path)
    sync_folder(path.parent)


def make_folder(folder: Path) -> None:
    """Create `folder` and its missing parents durably; do nothing if it exists.

    The parent is fsynced in both cases: its creator may have been killed before that.
    """
    if not folder.parent.is_dir():
        make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in `folder` durable; fsync of a file does not."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_leftovers(folder: Path, older_than_s: float = 0.0) -> None:
    """Remove temporary files that a killed process left.

    In a folder with several writers only old ones; a wrong clock may spare some until later.
    """
    for path in folder.glob(f"*{TEMPORARY_SUFFIX}"):
        with contextlib.suppress(FileNotFoundError):
            if time.time() - path.stat().st_mtime >= older_than_s:
                path.unlink()


def _temporary_path(folder: Path) -> Path:
    return folder / f"{uuid.uuid4().hex}{TEMPORARY_SUFFIX}"
