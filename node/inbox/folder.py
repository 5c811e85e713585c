"""List the folder of one series: one directory scan, without opening an image."""

import hashlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from node.inbox.keys import kept_sop_key, resent_instance, split_name

RECORD = "series.json"


class SeriesFolder(msgspec.Struct, frozen=True):
    """The folder of one series at the time of a scan; `mtime_ns` changes with every new file."""

    key: str
    path: Path
    mtime_ns: int


class InstanceFile(msgspec.Struct, frozen=True):
    """One stored instance: a complete Part 10 file of `bytes` bytes.

    `first_ns` and `last_ns`: when it was received first and last, by the clock of the file system.
    """

    path: Path
    sop_key: str
    content_key: str
    bytes: int
    first_ns: int = 0
    last_ns: int = 0


class SeriesRecord(msgspec.Struct, frozen=True):
    """The content of `series.json`; `first_seen` is unix time."""

    study: str
    series: str
    first_seen: float


def instances(folder: Path) -> list[InstanceFile]:
    """Return the stored instances by name; one with two contents is listed twice."""
    by_name: dict[str, InstanceFile] = {}
    resent: dict[str, int] = {}
    with os.scandir(folder) as entries:
        for entry in entries:
            if keys := split_name(entry.name):
                stat = entry.stat()
                times = (stat.st_mtime_ns, stat.st_mtime_ns)
                by_name[entry.name] = InstanceFile(Path(entry.path), *keys, stat.st_size, *times)
            elif name := resent_instance(entry.name):
                resent[name] = entry.stat().st_mtime_ns
    for name in resent.keys() & by_name.keys():
        last_ns = max(by_name[name].last_ns, resent[name])
        by_name[name] = msgspec.structs.replace(by_name[name], last_ns=last_ns)
    return [by_name[name] for name in sorted(by_name)]


def kept_files(folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield the SOP key and path of every instance that is kept, duplicates included."""
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if sop := kept_sop_key(entry.name):
                    yield sop, Path(entry.path)
    except FileNotFoundError:  # pruned during the scan
        return


def inputs_digest(files: Iterable[InstanceFile]) -> str:
    """Return the digest of the inputs of a job; order and resending do not change it."""
    names = sorted(f"{file.sop_key}.{file.content_key}" for file in files)
    return hashlib.sha256("\n".join(names).encode()).hexdigest()


def is_at(folder: Path, descriptor: int) -> bool:
    """Return whether the open folder still has this name."""
    try:
        status = folder.stat()
    except FileNotFoundError:
        return False
    return os.path.samestat(status, os.fstat(descriptor))


def read_series(folder: Path) -> SeriesRecord | None:
    """Return the UIDs of the series; None if the folder has no valid record."""
    try:
        return msgspec.json.decode((folder / RECORD).read_bytes(), type=SeriesRecord)
    except (OSError, msgspec.MsgspecError):
        return None
