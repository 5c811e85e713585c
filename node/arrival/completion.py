"""Decide when a series is complete.

DICOM has no message for "the series is complete". The node weighs three signs, the most reliable
first: the number of images that the headers announce; the orderly release of every association that
brought images, if the slice positions have no gap; silence. If fewer images arrived than announced,
the node waits for silence, because some scanners announce an acquisition that makes several series.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from node.config import CompleteConfig
from node.errors import MissingSlice, NodeError, TooFewSlices, UnevenSpacing

# More images can cure these problems; every other problem stays whatever else arrives.
CURABLE = (MissingSlice, UnevenSpacing, TooFewSlices)

# While an association sends other images of the study, its series may be sent in turns: they wait
# for up to so many quiet times. Some senders keep one association open for a whole day.
MOST_QUIET_TIMES = 10

# Some senders open one association per image; its release then means nothing for the series.
LEAST_INSTANCES_PER_ASSOCIATION = 2


@dataclass(frozen=True)
class AssociationSummary:
    """How many images one association brought to the series, and how the association ended."""

    state: Literal["open", "released", "aborted"]
    instances: int
    closed_at: float | None


@dataclass(frozen=True)
class Completion:
    """Whether the series is complete, and the deciding sign in words."""

    why: str
    wait_until: float | None = None  # None: complete
    settles: bool = False  # complete at `wait_until`, unless another image arrives

    @property
    def complete(self) -> bool:
        """Whether the series is complete now."""
        return self.wait_until is None


@dataclass(frozen=True)
class CompletionSigns:
    """The signs for or against completeness that a series in the inbox shows now."""

    instances: int
    frames: int  # more than `instances` if there are multi-frame objects
    expected: int | None  # the number of images that the headers announce
    associations: Sequence[AssociationSummary]
    last_at: float  # when the newest image was stored
    problem: NodeError | None  # why the geometry cannot be used
    extends_earlier: bool  # images arrived after a decision about the series
    sending_at: float = 0.0  # when an open association of the series last sent one of its study

    @property
    def lacks_announced(self) -> bool:
        """Whether fewer images arrived than the headers announce."""
        return self.expected is not None and self.instances < self.expected


def completion(signs: CompletionSigns, settings: CompleteConfig, now: float) -> Completion:
    """Weigh the signs at time `now` (seconds since 1970)."""
    curable = isinstance(signs.problem, CURABLE)
    if signs.expected is not None and signs.instances == signs.expected and not curable:
        # some scanners announce one acquisition of several, so images may still arrive
        ready = signs.last_at + settings.settle
        if now >= ready:
            return Completion(f"all {signs.expected} announced images arrived")
        return Completion("all announced images arrived, settling", ready, settles=True)
    is_orderly = not signs.extends_earlier and not signs.lacks_announced and _released(signs)
    if is_orderly and not curable:
        released = max(a.closed_at or 0.0 for a in signs.associations)
        ready = max(released, signs.last_at) + settings.settle
        if now >= ready:
            return Completion(f"{signs.instances} images, association released, no gap")
        return Completion("released, settling", ready, settles=True)
    longest = signs.last_at + MOST_QUIET_TIMES * settings.quiet
    active_at = max(signs.last_at, min(signs.sending_at, now))
    ready = min(active_at + settings.quiet, longest)
    if now >= ready:
        return Completion(f"no image for {settings.quiet:g} s")
    return Completion(_waiting_for(signs, curable=curable), ready)


def _released(signs: CompletionSigns) -> bool:
    """Check that every association was released and brought more than a single image."""
    if not signs.associations or any(a.state != "released" for a in signs.associations):
        return False
    whole_object = signs.frames > signs.instances or signs.instances == signs.expected == 1
    least = 1 if whole_object else LEAST_INSTANCES_PER_ASSOCIATION
    return all(a.instances >= least for a in signs.associations)


def _waiting_for(signs: CompletionSigns, *, curable: bool) -> str:
    if signs.sending_at > signs.last_at:
        return "an association is still sending images of this study"
    if any(a.state == "open" for a in signs.associations):
        return "an association is still open"
    if curable and signs.problem is not None:
        return f"more images may come: {signs.problem.message}"
    if signs.lacks_announced:
        return f"{signs.instances} of {signs.expected} announced images; waiting for quiet"
    if signs.extends_earlier:
        return "images came late; waiting for quiet"
    return "waiting for quiet"
