"""The messages between the segmenter and its child; `node.pipes` carries them."""

from typing import Literal

import msgspec

from node.caveats import Caveat
from node.engines import ONNXRUNTIME
from node.pipes import Ready
from node.process import Failed
from node.queue import Reason
from node.seg import Encoding, SegIdentity

ResultKind = Literal["seg", "report", "rtstruct", "picture", "notice"]


class SegmentRequest(msgspec.Struct, frozen=True, tag="segment", kw_only=True):
    """One series to segment, with everything that the result depends on."""

    job: int
    folder: str  # of the series in the inbox
    files: tuple[str, ...]
    inputs_digest: str
    package: str  # folder of the package
    package_digest: str
    size: str
    why: str = ""  # the reason for size and engine
    encodings: tuple[Encoding, ...]
    reports: tuple[Encoding, ...] = ()  # encodings whose SEG also gets a report
    rtstruct: bool = False  # whether contours are requested
    picture: bool = False  # whether a Secondary Capture is requested
    notice: bool = False  # whether a notice is requested if the series cannot be segmented
    unsuitable: Reason | None = None  # it cannot: the plan knows why
    identity: SegIdentity
    created_at: float  # Unix seconds
    outbox: str  # folder for the objects
    engine: str = ONNXRUNTIME
    compiled: str = ""  # folder of compiled networks; empty: none are kept


class RehearsalRequest(msgspec.Struct, frozen=True, tag="rehearsal", kw_only=True):
    """A reference case to segment before a study arrives; only the warm process remains."""

    package: str  # folder of the package
    digest: str
    size: str
    engine: str
    compiled: str  # folder of compiled networks; empty: none are kept
    identity: SegIdentity
    folder: str  # is created, and removed afterwards


class OutboxObject(msgspec.Struct, frozen=True, kw_only=True):
    """One verified DICOM object in the outbox."""

    name: str  # of the file in `SegmentRequest.outbox`
    kind: ResultKind = "seg"
    encoding: Encoding | None  # of a SEG, or of the SEG that a report refers to
    sha256: str
    size_bytes: int
    sop_class_uid: str
    sop_instance_uid: str
    series_uid: str


class Rehearsed(msgspec.Struct, frozen=True, tag="rehearsed"):
    """The rehearsal is over."""

    seconds: float
    problem: str = ""  # why it failed; studies are tried all the same
    is_interrupted: bool = False  # a study arrived


class Stage(msgspec.Struct, frozen=True, tag="stage"):
    """The current stage of a request, and the share of it that is done."""

    name: str
    share: float = 0.0


class Done(msgspec.Struct, frozen=True, tag="done", kw_only=True):
    """The request is finished."""

    objects: tuple[OutboxObject, ...]
    volumes_ml: dict[str, float]
    sums_ml: dict[str, float] = msgspec.field(default_factory=dict)
    seconds: dict[str, float]
    caveats: tuple[Caveat, ...] = ()
    peak_mb: float
    engine: str = ONNXRUNTIME  # that ran


class Unsuited(msgspec.Struct, frozen=True, tag="unsuited", kw_only=True):
    """The series cannot be segmented, and a notice of that was written."""

    reason: Failed
    notice: OutboxObject


Message = Ready | Rehearsed | Stage | Done | Unsuited | Failed
Request = SegmentRequest | RehearsalRequest

read_message = msgspec.json.Decoder(Message).decode
read_request = msgspec.json.Decoder(Request).decode
