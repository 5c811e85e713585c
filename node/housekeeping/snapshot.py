"""The state of one series folder at one moment."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from node.arrival import AssociationSummary, CompletionSigns, SeriesFindings
from node.errors import VERSIONS_ADVICE, Conflicting, NodeError
from node.housekeeping.recall import shows_changes
from node.inbox import (
    InstanceFile,
    Marker,
    SeriesFolder,
    inputs_digest,
    read_series,
)
from node.reader import SeriesReading


@dataclass(frozen=True)
class SeriesSnapshot:
    """Files, findings and markers of a series, read together."""

    folder: SeriesFolder
    taken_at: float  # unix time, just before the folder was listed
    files: tuple[InstanceFile, ...]
    digest: str
    findings: SeriesFindings | None  # None: no file is readable
    problem: NodeError | None  # an unreadable or contradictory instance
    caller: str
    signs: CompletionSigns
    study: str = ""
    senders: tuple[str, ...] = ()  # open associations that brought images

    @property
    def modality(self) -> str:
        """Of the slices; empty if no file is readable."""
        return self.findings.modality if self.findings else ""


class Listing(NamedTuple):
    """The content of a folder: an association that has ended there has sent no further file."""

    markers: Sequence[Marker]  # read before the files were listed
    files: tuple[InstanceFile, ...]


def snapshot_of(
    folder: SeriesFolder,
    listing: Listing,
    reading: SeriesReading,
    now: float,
    last_at: float,
    *,
    extends_earlier: bool,
) -> SeriesSnapshot:
    """Combine the reading of a series with the state of its folder, which changed at `last_at`."""
    markers, files = listing
    findings = reading.findings
    problem = reading.problem.error if reading.problem else repeated(files)
    survey_problem = findings.problem.error if findings and findings.problem else None
    record = read_series(folder.path)
    return SeriesSnapshot(
        folder=folder,
        taken_at=now,
        files=files,
        digest=inputs_digest(files),
        findings=findings,
        problem=problem,
        caller=caller_of(markers, findings),
        signs=CompletionSigns(
            instances=len(files),
            frames=findings.frames if findings else 0,
            expected=findings.expected if findings else None,
            # closing an association changes the folder, so its time is never needed
            associations=[AssociationSummary(m.state, m.instances, None) for m in markers],
            last_at=last_at,
            problem=problem or survey_problem,
            extends_earlier=extends_earlier,
        ),
        study=record.study if record else "",
        senders=tuple(marker.association for marker in markers if marker.state == "open"),
    )


def repeated(files: Sequence[InstanceFile]) -> Conflicting | None:
    """Return a problem if one SOP Instance UID has two contents; the file names show it."""
    if len({file.sop_key for file in files}) == len(files):
        return None
    message = "one SOP Instance UID arrived with two different contents; both are kept"
    return Conflicting(message, advice=VERSIONS_ADVICE)


def shortfall(snapshot: SeriesSnapshot) -> str:
    """Describe how many of the announced images are present; empty if none is missing."""
    signs = snapshot.signs
    return (
        f"{signs.instances} of {signs.expected} announced images" if signs.lacks_announced else ""
    )


def caller_of(markers: Sequence[Marker], findings: SeriesFindings | None) -> str:
    """Return the AE title that sent the newest images; empty if unknown.

    A marker may be lost or damaged by a power cut, but each file names its sender too.
    """
    if markers and markers[-1].calling_ae:
        return markers[-1].calling_ae
    return findings.source_ae if findings else ""


def is_current(snapshot: SeriesSnapshot, folder: SeriesFolder) -> bool:
    """Return whether `folder`, listed now, is unchanged since `snapshot` was taken."""
    return snapshot.folder.mtime_ns == folder.mtime_ns and shows_changes(folder, snapshot.taken_at)
