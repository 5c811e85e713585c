"""What lies in the folder of one series.

Promises: listing costs one directory scan and opens no image.
"""

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

import msgspec

from node.inbox.keys import of_again, split_name

RECORD = "series.json"


class SeriesFolder(msgspec.Struct, frozen=True):
    """One series, as a scan saw it; `mtime_ns` changes when a file comes or goes."""

    key: str
    path: Path
    mtime_ns: int


class InstanceFile(msgspec.Struct, frozen=True):
    """One kept instance: a whole Part 10 file of `bytes` bytes.

    When it came first and last is told by the disk's clock, in nanoseconds.
    """

    path: Path
    sop_key: str
    content_key: str
    bytes: int
    first_ns: int = 0
    last_ns: int = 0


class SeriesRecord(msgspec.Struct, frozen=True):
    """What `series.json` says; `first_seen` is unix time."""

    study: str
    series: str
    first_seen: float


def instances(folder: Path) -> list[InstanceFile]:
    """Return the kept instances, by name; one that came with two contents is there twice."""
    found: dict[str, InstanceFile] = {}
    again: dict[str, int] = {}
    with os.scandir(folder) as entries:
        for entry in entries:
            if keys := split_name(entry.name):
                seen = entry.stat()
                times = (seen.st_mtime_ns, seen.st_mtime_ns)
                found[entry.name] = InstanceFile(Path(entry.path), *keys, seen.st_size, *times)
            elif name := of_again(entry.name):
                again[name] = entry.stat().st_mtime_ns
    for name in again.keys() & found.keys():
        last_ns = max(found[name].last_ns, again[name])
        found[name] = msgspec.structs.replace(found[name], last_ns=last_ns)
    return [found[name] for name in sorted(found)]


def inputs_digest(files: Iterable[InstanceFile]) -> str:
    """Return the digest of what a job would read: order and re-sending do not change it."""
    names = sorted(f"{file.sop_key}.{file.content_key}" for file in files)
    return hashlib.sha256("\n".join(names).encode()).hexdigest()


def read_series(folder: Path) -> SeriesRecord | None:
    """Return the UIDs of the series; None when nothing has been kept there yet."""
    try:
        return msgspec.json.decode((folder / RECORD).read_bytes(), type=SeriesRecord)
    except (OSError, msgspec.MsgspecError):
        return None
