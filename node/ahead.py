"""Offers of work on series whose images have all arrived and whose decision waits for `settle`.

`node.housekeeping` offers such a series, and the segmenter works on it ahead of its job. Nothing
depends on an offer: the job is recorded at the same moment and by the same rule with or without
one, and only a job is delivered. An offer that is lost costs the time that it would have saved.
"""

import contextlib
from pathlib import Path

import msgspec

from node.queue import SegmentPayload

FOLDER = "ahead"  # in the data folder


class Offer(msgspec.Struct, frozen=True, kw_only=True):
    """The job that will be recorded if no other image arrives."""

    dedup_key: str
    payload: SegmentPayload


def offer(data: Path, one: Offer) -> None:
    """Write an offer; a disk that fails now will be noticed by the work that matters."""
    path = _path(data, one.payload.series_key)
    part = path.with_suffix(".part")
    with contextlib.suppress(OSError):
        path.parent.mkdir(exist_ok=True)
        part.write_bytes(msgspec.json.encode(one))
        part.replace(path)


def withdraw(data: Path, series_key: str) -> None:
    """Remove the offer of a series, if there is one."""
    with contextlib.suppress(OSError):
        _path(data, series_key).unlink()


def withdraw_all(data: Path) -> None:
    """Remove the offers of a process that ended."""
    for one in offers(data):
        withdraw(data, one.payload.series_key)


def offers(data: Path) -> list[Offer]:
    """Return the offers that can be read, those of one folder by name."""
    known = []
    for path in sorted((data / FOLDER).glob("*.json")):
        with contextlib.suppress(OSError, msgspec.MsgspecError):
            known.append(msgspec.json.decode(path.read_bytes(), type=Offer))
    return known


def _path(data: Path, series_key: str) -> Path:
    return data / FOLDER / f"{series_key}.json"
