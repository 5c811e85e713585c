"""One series as it lay in its folder at one moment."""

from collections.abc import Sequence
from dataclasses import dataclass

from node.arrival import CompletionSigns
from node.errors import Conflicting, Unsuitable
from node.inbox import InstanceFile, Marker, SeriesFolder
from node.series import Header


@dataclass(frozen=True)
class SeriesSnapshot:
    """Files, headers and markers that were found together."""

    folder: SeriesFolder
    taken_at: float  # unix time, just before the folder was listed
    files: tuple[InstanceFile, ...]
    digest: str
    headers: tuple[Header, ...]
    modality: str  # of the slices; empty where no header was read
    problem: Unsuitable | None  # an instance that cannot be read, or contradicts another
    caller: str
    signs: CompletionSigns


def repeated(files: Sequence[InstanceFile]) -> Unsuitable | None:
    """Say whether one SOP Instance UID came with two contents; file names tell it."""
    if len({file.sop_key for file in files}) == len(files):
        return None
    return Conflicting("one SOP Instance UID arrived with two different contents; both are kept")


def announced(headers: Sequence[Header]) -> int | None:
    """Return how many images the headers announce, if they agree."""
    said = {header.expected_instances for header in headers}
    return said.pop() if len(said) == 1 else None


def shortfall(snapshot: SeriesSnapshot) -> str:
    """Say how many images are there when headers announced more; empty if none is missed."""
    signs = snapshot.signs
    return (
        f"{signs.instances} of {signs.expected} announced images" if signs.lacks_announced else ""
    )


def caller_of(markers: Sequence[Marker], headers: Sequence[Header]) -> str:
    """Return the AE title that sent the newest images; empty where nothing tells it.

    A marker may be lost or damaged by a power cut; each file names its sender too.
    """
    if markers and markers[-1].calling_ae:
        return markers[-1].calling_ae
    written = {header.source_ae for header in headers} - {""}
    return written.pop() if len(written) == 1 else ""
