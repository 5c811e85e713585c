"""Files of tensors: complete or absent, and without code.

Promises: a kill or a full disk during a save leaves the last good file unchanged; loading a file
runs no code from it (weights_only).
"""

import zipfile
from pathlib import Path
from typing import Any

import torch

from kd.errors import BadCheckpoint
from node import durable


def save(content: dict[str, Any], path: Path) -> None:
    """Write `content` durably; the folder belongs to one run.

    Raises:
        BadCheckpoint: the disk is full or not writable; the old file is intact.
    """
    try:
        durable.remove_leftovers(path.parent)
        with durable.replacing(path) as file:
            torch.save(content, file)
    except (OSError, RuntimeError) as exc:  # torch reports a failed write as RuntimeError
        message = f"checkpoint {path.name} in {path.parent.name} could not be saved"
        advice = "The last one is intact: free disk space and run the same command again"
        raise BadCheckpoint(message, advice=advice) from exc


def load(path: Path, device: torch.device) -> dict[str, Any]:
    """Read a checkpoint back.

    Raises:
        BadCheckpoint: the file is damaged or holds anything but tensors and plain values.
    """
    message = f"checkpoint {path.name} in {path.parent.name} is damaged, or not a checkpoint of kd"
    advice = "Remove it to train from the beginning"
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()  # torch does not compare the archive's checksums
        content = None if damaged else torch.load(path, map_location=device, weights_only=True)
    except (OSError, RuntimeError, EOFError, zipfile.BadZipFile, ValueError) as exc:
        raise BadCheckpoint(message, advice=advice) from exc
    except Exception as exc:
        # weights_only rejects code with an error of the module whose import is banned here
        if type(exc).__name__ != "UnpicklingError":
            raise
        raise BadCheckpoint(message, advice=advice) from exc
    if not isinstance(content, dict):
        raise BadCheckpoint(message, advice=advice)
    return content
