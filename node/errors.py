"""All errors that the node raises on purpose; the class decides what happens to the job.

Promises: each error has a stable `code`, a message without patient data and, where a person can
act on it, an `advice` with the next step.
Leaves to `node.queue.settle`: the transition that follows.

    NodeError
    ├── Misconfigured     the node does not start; exit status 78
    │   └── BadPackage    a model package that cannot be trusted
    ├── Unsuitable        the model cannot segment this series   -> unsuitable
    ├── Superseded        a newer job or result replaces this    -> superseded
    ├── Cancelled         an operator cancelled the job          -> cancelled
    ├── Transient         a later attempt may work               -> queued again, with back-off
    ├── RefusedByTarget   the target rejects the object for good -> failed
    └── Defect            a bug, a killed child, a failed check  -> failed
"""

from typing import ClassVar


class NodeError(Exception):
    """Base class of all errors that the node raises on purpose."""

    code: ClassVar[str] = "error"

    def __init__(self, message: str, *, advice: str = "") -> None:
        """Store `message` (what is wrong) and `advice` (what to do next) separately."""
        super().__init__(message)
        self.message = message
        self.advice = advice

    def __str__(self) -> str:
        """Return the message, followed by the advice if there is one."""
        return f"{self.message}. {self.advice}" if self.advice else self.message


class Misconfigured(NodeError):
    """The configuration or the host cannot work as written."""

    code = "misconfigured"


class BadPackage(Misconfigured):
    """A model package is incomplete, altered, or does not reproduce its reference case."""

    code = "bad-package"


class Unsuitable(NodeError):
    """The model cannot segment this series, and nothing is broken."""

    code = "unsuitable"


class NotAnImage(Unsuitable):
    """The instances carry no pixel data that can be stacked."""

    code = "not-an-image"


class SecondaryCapture(NotAnImage):
    """Pictures of a screen or a report."""

    code = "secondary-capture"


class Localizer(NotAnImage):
    """Localizers, scouts or topograms."""

    code = "localizer"


class Projection(NotAnImage):
    """Projections (MIP, MinIP), renderings or curved reformats."""

    code = "projection"


class Subtraction(NotAnImage):
    """Differences of two images."""

    code = "subtraction"


class ParametricMap(NotAnImage):
    """Maps of a computed quantity, such as ADC, perfusion, iodine or phase."""

    code = "parametric-map"


class ThickSlab(NotAnImage):
    """Averages over slabs that are thicker than a slice."""

    code = "thick-slab"


class ColourImage(NotAnImage):
    """Colours or indices of colours instead of one grey value per pixel."""

    code = "colour-image"


class MissingAttribute(Unsuitable):
    """An attribute that gives the pixels their meaning is absent."""

    code = "missing-attribute"


class UnsupportedPixels(Unsuitable):
    """The attributes of the pixels contradict each other, or describe an unsupported format."""

    code = "unsupported-pixels"


class UnusableRescale(Unsuitable):
    """Rescale Slope or Rescale Intercept is absent, unreadable or 0."""

    code = "unusable-rescale"


class WrongUnits(Unsuitable):
    """The values of a CT are not in Hounsfield units."""

    code = "wrong-units"


class MixedUnits(Unsuitable):
    """Some images of the series have other units than the rest."""

    code = "mixed-units"


class WrongModality(Unsuitable):
    """The model was made for another modality."""

    code = "wrong-modality"


class TooFewSlices(Unsuitable):
    """Fewer slices than the model needs."""

    code = "too-few-slices"


class MissingSlice(Unsuitable):
    """A slice position is absent between others."""

    code = "missing-slice"


class UnevenSpacing(Unsuitable):
    """The distance between slices varies."""

    code = "uneven-spacing"


class GantryTilt(Unsuitable):
    """The slice positions are not aligned along the slice normal."""

    code = "gantry-tilt"


class MixedOrientation(Unsuitable):
    """The slices differ in orientation, size or spacing."""

    code = "mixed-orientation"


class DuplicatePositions(Unsuitable):
    """Two slices have the same position."""

    code = "duplicate-positions"


class FourDimensional(Unsuitable):
    """Several volumes in one series: time points, echoes, diffusion directions, stacks."""

    code = "four-dimensional"


class EnhancedMultiFrame(Unsuitable):
    """A multi-frame object whose frames cannot be identified: unsupported class, or damaged."""

    code = "enhanced-multi-frame"


class NoFrameOfReference(Unsuitable):
    """The position of the slices in the patient is unknown."""

    code = "no-frame-of-reference"


class OutsideModelRange(Unsuitable):
    """Spacing, field of view or slice count outside what the model was validated for."""

    code = "outside-model-range"


class ImplausibleResult(Unsuitable):
    """A measured volume is outside the range that the package expects of any patient."""

    code = "implausible-result"


class UndecodablePixels(Unsuitable):
    """The pixel data is damaged, or in a compression that the node cannot decode."""

    code = "undecodable-pixels"


class Conflicting(Unsuitable):
    """One instance UID arrived with different contents, or the patient identities differ."""

    code = "conflicting-instances"


class ConflictingPatients(Conflicting):
    """The series of one study belong to different patients."""

    code = "conflicting-patients"


class Superseded(NodeError):
    """A newer job or result of the same series replaces this one."""

    code = "superseded"


class Cancelled(NodeError):
    """An operator cancelled the job."""

    code = "cancelled"


class Transient(NodeError):
    """A later attempt may work."""

    code = "transient"


class PeerUnreachable(Transient):
    """No association could be opened."""

    code = "peer-unreachable"


class NoResponse(Transient):
    """The peer closed the connection before it answered."""

    code = "no-response"


class PeerBusy(Transient):
    """The peer answered that it is temporarily out of resources."""

    code = "peer-busy"


class NotConfirmed(Transient):
    """The peer answered success, but a query does not find the object."""

    code = "not-confirmed"


class DiskLow(Transient):
    """Less free space than `data.stop_accepting_below`."""

    code = "disk-low"


class DatabaseBusy(Transient):
    """The database is locked for too long or unreachable, or its disk fails."""

    code = "database-busy"


class LeaseLost(Transient):
    """The lease ran out, and another worker may have claimed the job."""

    code = "lease-lost"


class RefusedByTarget(NodeError):
    """The target rejects the object for good; a later attempt does not help."""

    code = "refused-by-target"


class Defect(NodeError):
    """A bug, or a check that detected one: needs a person."""

    code = "defect"


class ChildKilled(Defect):
    """A signal killed the process that ran the model."""

    code = "child-killed"


class TimedOut(Defect):
    """The model ran longer than `limits.time`."""

    code = "timed-out"


class OutOfMemory(Defect):
    """The model needed more than `limits.memory`."""

    code = "out-of-memory"


class VerificationFailed(Defect):
    """The finished SEG does not decode to the computed labels."""

    code = "verification-failed"


def known() -> dict[str, type[NodeError]]:
    """Map every code to its class, for the documentation and for errors from a child process."""
    found: dict[str, type[NodeError]] = {}
    todo: list[type[NodeError]] = [NodeError]
    while todo:
        kind = todo.pop()
        found[kind.code] = kind
        todo.extend(kind.__subclasses__())
    return found


def rebuild(code: str, message: str, advice: str = "") -> NodeError:
    """Build the error from its parts; an unknown code becomes a `Defect`."""
    return known().get(code, Defect)(message, advice=advice)
