"""The state of one series folder at one moment."""

from collections.abc import Sequence
from dataclasses import dataclass

from node.arrival import CompletionSigns
from node.errors import Conflicting, Unsuitable
from node.housekeeping.recall import shows_changes
from node.inbox import InstanceFile, Marker, SeriesFolder
from node.series import Header


@dataclass(frozen=True)
class SeriesSnapshot:
    """Files, headers and markers of a series, read together."""

    folder: SeriesFolder
    taken_at: float  # unix time, just before the folder was listed
    files: tuple[InstanceFile, ...]
    digest: str
    headers: tuple[Header, ...]
    modality: str  # of the slices; empty without headers
    problem: Unsuitable | None  # an unreadable or contradictory instance
    caller: str
    signs: CompletionSigns


def repeated(files: Sequence[InstanceFile]) -> Unsuitable | None:
    """Return a problem if one SOP Instance UID has two contents; the file names show it."""
    if len({file.sop_key for file in files}) == len(files):
        return None
    return Conflicting("one SOP Instance UID arrived with two different contents; both are kept")


def announced(headers: Sequence[Header]) -> int | None:
    """Return how many images the headers announce, if they agree."""
    numbers = {header.expected_instances for header in headers}
    return numbers.pop() if len(numbers) == 1 else None


def shortfall(snapshot: SeriesSnapshot) -> str:
    """Describe how many of the announced images are present; empty if none is missing."""
    signs = snapshot.signs
    return (
        f"{signs.instances} of {signs.expected} announced images" if signs.lacks_announced else ""
    )


def caller_of(markers: Sequence[Marker], headers: Sequence[Header]) -> str:
    """Return the AE title that sent the newest images; empty if unknown.

    A marker may be lost or damaged by a power cut, but each file names its sender too.
    """
    if markers and markers[-1].calling_ae:
        return markers[-1].calling_ae
    written = {header.source_ae for header in headers} - {""}
    return written.pop() if len(written) == 1 else ""


def is_current(snapshot: SeriesSnapshot, folder: SeriesFolder) -> bool:
    """Return whether `folder`, listed now, is unchanged since `snapshot` was taken."""
    return snapshot.folder.mtime_ns == folder.mtime_ns and shows_changes(folder, snapshot.taken_at)
