"""Every way in which the node can say no; the class decides what happens to the job.

Promises: each error has a stable `code`, a message without patient data and, where somebody can
act on it, an `advice` that says what to do next.
Leaves to the callers: which state follows (`node.states` and `node.queue` hold the transitions).

    NodeError
    ├── Misconfigured     never starts; exit status 78
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
    """The root of everything that the node raises on purpose."""

    code: ClassVar[str] = "error"

    def __init__(self, message: str, *, advice: str = "") -> None:
        """Keep `message` (what is wrong) and `advice` (what to do next) apart for machines."""
        super().__init__(message)
        self.message = message
        self.advice = advice

    def __str__(self) -> str:
        """Read as one sentence, or two where there is advice."""
        return f"{self.message}. {self.advice}" if self.advice else self.message


class Misconfigured(NodeError):
    """The configuration or the host cannot work as written."""

    code = "misconfigured"


class BadPackage(Misconfigured):
    """A model package is incomplete, altered, or does not reproduce its reference case."""

    code = "bad-package"


class Unsuitable(NodeError):
    """This series cannot be segmented, and nothing is broken."""

    code = "unsuitable"


class NotAnImage(Unsuitable):
    """The instances carry no pixel data that can be stacked."""

    code = "not-an-image"


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
    """Slice positions do not move along the slice normal."""

    code = "gantry-tilt"


class MixedOrientation(Unsuitable):
    """Slices point in different directions, or have different sizes or spacings."""

    code = "mixed-orientation"


class DuplicatePositions(Unsuitable):
    """Two slices claim the same place."""

    code = "duplicate-positions"


class FourDimensional(Unsuitable):
    """Several volumes in one series: time points, echoes, diffusion directions, stacks."""

    code = "four-dimensional"


class EnhancedMultiFrame(Unsuitable):
    """A multi-frame object whose frames cannot be told apart: of another class, or damaged."""

    code = "enhanced-multi-frame"


class NoFrameOfReference(Unsuitable):
    """The position of the slices in the patient is unknown."""

    code = "no-frame-of-reference"


class OutsideModelRange(Unsuitable):
    """Spacing, field of view or slice count outside what the model was validated for."""

    code = "outside-model-range"


class ImplausibleResult(Unsuitable):
    """The volume of what was found is outside what the package expects of any patient."""

    code = "implausible-result"


class UndecodablePixels(Unsuitable):
    """The pixel data is damaged, or compressed in a way that cannot be decoded here."""

    code = "undecodable-pixels"


class Conflicting(Unsuitable):
    """The same instance UID arrived with different content, or identities contradict."""

    code = "conflicting-instances"


class Superseded(NodeError):
    """Images that arrived later made a newer job for the same series."""

    code = "superseded"


class Cancelled(NodeError):
    """An operator cancelled the job."""

    code = "cancelled"


class Transient(NodeError):
    """Trying again later may work."""

    code = "transient"


class PeerUnreachable(Transient):
    """No association could be opened."""

    code = "peer-unreachable"


class NoResponse(Transient):
    """The peer went away before it answered."""

    code = "no-response"


class PeerBusy(Transient):
    """The peer answered that it is out of resources for now."""

    code = "peer-busy"


class NotConfirmed(Transient):
    """The peer said success, but a query does not find the object."""

    code = "not-confirmed"


class DiskLow(Transient):
    """Less free space than `data.stop_accepting_below`."""

    code = "disk-low"


class DatabaseBusy(Transient):
    """The database is locked for longer than a writer takes, out of reach, or its disk fails."""

    code = "database-busy"


class LeaseLost(Transient):
    """Another worker took the job over after this one fell silent."""

    code = "lease-lost"


class RefusedByTarget(NodeError):
    """The peer said no, and will say no again."""

    code = "refused-by-target"


class Defect(NodeError):
    """A bug, or a check that caught one: needs a person."""

    code = "defect"


class ChildKilled(Defect):
    """The process that ran the model died by a signal."""

    code = "child-killed"


class TimedOut(Defect):
    """The model ran longer than `limits.time`."""

    code = "timed-out"


class OutOfMemory(Defect):
    """The model needed more than `limits.memory`."""

    code = "out-of-memory"


class VerificationFailed(Defect):
    """The finished SEG does not decode to the labels that were meant."""

    code = "verification-failed"


def known() -> dict[str, type[NodeError]]:
    """Map every code to its class, for the runbook and for errors that cross a process border."""
    found: dict[str, type[NodeError]] = {}
    todo: list[type[NodeError]] = [NodeError]
    while todo:
        kind = todo.pop()
        found[kind.code] = kind
        todo.extend(kind.__subclasses__())
    return found


def rebuild(code: str, message: str, advice: str = "") -> NodeError:
    """Make the error again from its parts; an unknown code is a `Defect`."""
    return known().get(code, Defect)(message, advice=advice)
