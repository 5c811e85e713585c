"""A finished object as bytes, and durably on disk."""

import io
import os
from pathlib import Path

import pydicom
from pydicom.dataset import Dataset


def to_bytes(dataset: Dataset) -> bytes:
    """Return the Part 10 file: the same object always gives the same bytes."""
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, dataset, enforce_file_format=True)
    return buffer.getvalue()


def write(dataset: Dataset, path: Path) -> None:
    """Write the object so that `path` either holds all of it or does not exist."""
    encoded = to_bytes(dataset)
    unfinished = path.with_name(f"{path.name}.part")
    try:
        with unfinished.open("wb") as file:
            file.write(encoded)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)  # a full disk must not be filled with halves
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # the rename alone can be lost on power failure
    finally:
        os.close(folder)
