"""When a series is complete.

DICOM has no "that was all". Three signs are weighed, the surest first: the number of images that
the headers announce, the orderly release of every association that brought images while the
geometry has no gap, and at last silence. Fewer images than announced only make it wait for silence:
some scanners count an acquisition that makes several series.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from node.config import Complete
from node.errors import MissingSlice, NodeError, TooFewSlices, UnevenSpacing

# More images can cure these; any other refusal stays whatever else arrives.
CURABLE = (MissingSlice, UnevenSpacing, TooFewSlices)

# Some senders open one association per image: its release then says nothing about the series.
LEAST_INSTANCES_PER_ASSOCIATION = 2


@dataclass(frozen=True)
class AssociationSummary:
    """What one association brought to the series, and how it ended."""

    state: Literal["open", "released", "aborted"]
    instances: int
    closed_at: float | None


@dataclass(frozen=True)
class Completion:
    """Whether the series is complete, and the sign for or against it in words."""

    why: str
    wait_until: float | None = None  # None: complete

    @property
    def complete(self) -> bool:
        """Whether there is nothing left to wait for."""
        return self.wait_until is None


@dataclass(frozen=True)
class CompletionSigns:
    """A series as it lies in the inbox now."""

    instances: int
    frames: int  # more than instances for a multi-frame object
    expected: int | None  # as its headers announce, if they do
    associations: Sequence[AssociationSummary]
    last_at: float  # when the newest image was stored
    problem: NodeError | None  # why the geometry cannot be used, if so
    extends_earlier: bool  # images came after the series had been taken to be complete

    @property
    def lacks_announced(self) -> bool:
        """Whether fewer images arrived than the headers announce."""
        return self.expected is not None and self.instances < self.expected


def completion(seen: CompletionSigns, settings: Complete, now: float) -> Completion:
    """Weigh the signs at time `now` (seconds since 1970)."""
    curable = isinstance(seen.problem, CURABLE)
    if seen.expected is not None and seen.instances == seen.expected and not curable:
        # some scanners announce one acquisition of several: images that still flow tell
        ready = seen.last_at + settings.settle
        if now >= ready:
            return Completion(f"all {seen.expected} announced images arrived")
        return Completion("all announced images arrived, settling", ready)
    if not curable and not seen.extends_earlier and not seen.lacks_announced and _orderly(seen):
        released = max(a.closed_at or 0.0 for a in seen.associations)
        ready = max(released, seen.last_at) + settings.settle
        if now >= ready:
            return Completion(f"{seen.instances} images, association released, no gap")
        return Completion("released, settling", ready)
    ready = seen.last_at + settings.quiet
    if now >= ready:
        return Completion(f"no image for {settings.quiet:g} s")
    return Completion(_waiting_for(seen, curable=curable), ready)


def _orderly(seen: CompletionSigns) -> bool:
    if not seen.associations or any(a.state != "released" for a in seen.associations):
        return False
    whole_object = seen.frames > seen.instances or seen.instances == seen.expected == 1
    least = 1 if whole_object else LEAST_INSTANCES_PER_ASSOCIATION
    return all(a.instances >= least for a in seen.associations)


def _waiting_for(seen: CompletionSigns, *, curable: bool) -> str:
    if any(a.state == "open" for a in seen.associations):
        return "an association is still open"
    if curable and seen.problem is not None:
        return f"more images may come: {seen.problem.message}"
    if seen.lacks_announced:
        return f"{seen.instances} of {seen.expected} announced images; waiting for quiet"
    if seen.extends_earlier:
        return "images came late; waiting for quiet"
    return "waiting for quiet"
