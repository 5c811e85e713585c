"""Which associations put images into a series, and how they ended.

Promises: while an association may still add to a series there is an `.open` marker in its folder;
afterwards a `.released` or `.aborted` one. Leaves to arrival: what follows from that.
"""

import uuid
from pathlib import Path
from typing import Literal

import msgspec

from node import durable

State = Literal["open", "released", "aborted"]

STATES: tuple[State, ...] = ("open", "aborted", "released")  # a later one outdoes an earlier one
KEPT_MARKERS = 32  # a device that sends the same series every minute must not fill the folder


class Marker(msgspec.Struct, frozen=True, kw_only=True):
    """One association, as one series saw it; times are unix seconds."""

    association: str
    state: State = "open"
    calling_ae: str = ""
    host: str = ""
    instances: int = 0  # acknowledged in this association, identical ones included
    opened: float = 0.0
    closed: float | None = None


class AssociationRecord:
    """One association as the inbox sees it: who it is, and what it brought to which series.

    Used by the thread of its association only.
    """

    def __init__(self, calling_ae: str, host: str, opened: float) -> None:
        """Begin to count; `opened` is unix time."""
        self.id = uuid.uuid4().hex
        self.calling_ae = calling_ae
        self.host = host
        self.opened = opened
        self.instances: dict[Path, int] = {}
        self.known: dict[Path, dict[str, set[str]]] = {}  # folder -> sop key -> content keys
        self.is_closed = False

    def enter(self, folder: Path) -> None:
        """Leave an `.open` marker in `folder`, unless there is one.

        Not fsynced: after power loss all that a marker says is "not released", and so does none.
        """
        if folder not in self.instances:
            path = folder / f"{self.id}.open"
            path.write_bytes(msgspec.json.encode(self._marker(folder, "open", None)))
            self.instances[folder] = 0

    def close(self, state: State, now: float, temporary_folder: Path) -> None:
        """Replace the `.open` markers by what became of the association."""
        for folder in self.instances:
            try:
                marker = self._marker(folder, state, now)
                path = folder / f"{self.id}.{state}"
                durable.write(path, msgspec.json.encode(marker), temporary_folder)
                (folder / f"{self.id}.open").unlink(missing_ok=True)
                _forget_oldest(folder)
            except FileNotFoundError:  # pruned meanwhile: nobody will ask
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
    """Return one marker per association, oldest first; a damaged one says only its state."""
    found: dict[str, tuple[State, Path]] = {}
    for state in STATES:
        for path in folder.glob(f"*.{state}"):
            found[path.stem] = (state, path)
    markers = [_read(path, state) for state, path in found.values()]
    return sorted(markers, key=lambda marker: (marker.opened, marker.association))


def closed_after(folder: Path, moment: float) -> float | None:
    """Return when the last association ended that began after `moment` and brought images."""
    ends = [
        marker.closed
        for marker in read_markers(folder)
        if marker.closed is not None and marker.instances and marker.opened > moment
    ]
    return max(ends, default=None)


def abort_open(folder: Path, now: float, temporary_folder: Path) -> int:
    """Turn `.open` markers into `.aborted`: their listener is gone. Return how many there were."""
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
