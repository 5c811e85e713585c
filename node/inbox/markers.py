"""Markers: files that record which associations added images to a series, and how they ended.

Guarantees: while an association may still add to a series, its folder has an `.open` marker;
afterwards a `.released` or an `.aborted` one. `node.arrival` concludes whether it is complete.
"""

import uuid
from pathlib import Path
from typing import Literal

import msgspec

from node import durable

State = Literal["open", "released", "aborted"]

STATES: tuple[State, ...] = ("open", "aborted", "released")  # a later one overrides an earlier one
KEPT_MARKERS = 32  # per series: some devices send the same series every minute


class Marker(msgspec.Struct, frozen=True, kw_only=True):
    """One association that added to one series; times are in unix seconds."""

    association: str
    state: State = "open"
    calling_ae: str = ""
    host: str = ""
    instances: int = 0  # acknowledged in this association, including identical ones
    opened: float = 0.0
    closed: float | None = None


class AssociationRecord:
    """One open association: its peer, and how many instances it added to which series.

    Not safe for several threads: only the thread of the association uses it.
    """

    def __init__(self, calling_ae: str, host: str, opened: float) -> None:
        """Start with no instances; `opened` is unix time."""
        self.id = uuid.uuid4().hex
        self.calling_ae = calling_ae
        self.host = host
        self.opened = opened
        self.instances: dict[Path, int] = {}
        self.known: dict[Path, dict[str, set[str]]] = {}  # folder -> sop key -> content keys
        self.sending: dict[Path, float] = {}  # files of `node.inbox.sending`, with a monotonic time
        self.is_closed = False

    def enter(self, folder: Path) -> None:
        """Write an `.open` marker into `folder`, unless there is one.

        Not fsynced: after power loss, no marker means the same as an open one: not released.
        """
        if folder not in self.instances:
            path = folder / f"{self.id}.open"
            path.write_bytes(msgspec.json.encode(self._marker(folder, "open", None)))
            self.instances[folder] = 0

    def close(self, state: State, now: float, temporary_folder: Path) -> None:
        """Replace the `.open` markers by markers with `state`."""
        for folder in self.instances:
            try:
                marker = self._marker(folder, state, now)
                path = folder / f"{self.id}.{state}"
                durable.write(path, msgspec.json.encode(marker), temporary_folder)
                (folder / f"{self.id}.open").unlink(missing_ok=True)
                _forget_oldest(folder)
            except FileNotFoundError:  # the series was pruned meanwhile
                continue

    def _marker(self, folder: Path, state: State, closed: float | None) -> Marker:
        return Marker(
            association=self.id,
            state=state,
            calling_ae=self.calling_ae,
            host=self.host,
            instances=self.instances.get(folder, 0),
            opened=self.opened,
            closed=closed,
        )


def read_markers(folder: Path) -> list[Marker]:
    """Return one marker per association, oldest first; a damaged one has its state only."""
    newest: dict[str, tuple[State, Path]] = {}
    for state in STATES:
        for path in folder.glob(f"*.{state}"):
            newest[path.stem] = (state, path)
    markers = [_read(path, state) for state, path in newest.values()]
    return sorted(markers, key=lambda marker: (marker.opened, marker.association))


def closed_after(folder: Path, moment: float) -> float | None:
    """Return the end of the last association that began after `moment` and added images."""
    ends = [
        marker.closed
        for marker in read_markers(folder)
        if marker.closed is not None and marker.instances and marker.opened > moment
    ]
    return max(ends, default=None)


def abort_open(folder: Path, now: float, temporary_folder: Path) -> int:
    """Replace the `.open` markers of a previous listener by `.aborted`; return their number."""
    stale = list(folder.glob("*.open"))
    for path in stale:
        if not path.with_suffix(".released").exists():
            marker = msgspec.structs.replace(_read(path, "aborted"), closed=now)
            aborted = path.with_suffix(".aborted")
            durable.write(aborted, msgspec.json.encode(marker), temporary_folder)
        path.unlink()
    return len(stale)


def _read(path: Path, state: State) -> Marker:
    try:
        marker = msgspec.json.decode(path.read_bytes(), type=Marker)
    except (OSError, msgspec.MsgspecError):
        return Marker(association=path.stem, state=state)
    return msgspec.structs.replace(marker, association=path.stem, state=state)


def _forget_oldest(folder: Path) -> None:
    closed = [path for path in folder.iterdir() if path.suffix in (".released", ".aborted")]
    if len(closed) > KEPT_MARKERS:
        closed.sort(key=lambda path: path.stat().st_mtime_ns)
        for path in closed[:-KEPT_MARKERS]:
            path.unlink(missing_ok=True)
