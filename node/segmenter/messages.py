"""What the segmenter and its child say to each other: one JSON object per line, and no pickle."""

import msgspec

from node.engines import ONNXRUNTIME
from node.seg import Encoding, SegIdentity


class Bounds(msgspec.Struct, frozen=True, kw_only=True):
    """What a child imposes on itself before it does anything; its only argument."""

    memory_bytes: int
    niceness: int
    threads: int
    log_level: str = "INFO"
    libraries: tuple[str, ...] = ()  # engines whose libraries are imported before a task comes


class SegmentRequest(msgspec.Struct, frozen=True, tag="segment", kw_only=True):
    """One series to segment; everything that the result depends on."""

    job: int
    folder: str  # of the series in the inbox
    files: tuple[str, ...]
    inputs_digest: str
    package: str  # its folder
    package_digest: str
    size: str
    encodings: tuple[Encoding, ...]
    reports: tuple[Encoding, ...] = ()  # of the SEGs in these encodings
    identity: SegIdentity
    created_at: float  # Unix seconds
    outbox: str  # folder where the objects go
    engine: str = ONNXRUNTIME
    compiled: str = ""  # folder of compiled networks; empty: none are kept


class RehearsalRequest(msgspec.Struct, frozen=True, tag="rehearsal", kw_only=True):
    """A reference case to segment before a study comes; nothing of it stays but a warm process."""

    package: str  # its folder
    digest: str
    size: str
    engine: str
    compiled: str  # folder of compiled networks; empty: none are kept
    identity: SegIdentity
    folder: str  # is made, and removed


class MeasureRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What a measuring process measures; its only argument."""

    folder: str  # of the package
    size: str
    engine: str
    compiled: str  # folder of compiled networks
    bounds: Bounds


class OutboxObject(msgspec.Struct, frozen=True, kw_only=True):
    """One verified object in the outbox."""

    name: str  # of the file in `SegmentRequest.outbox`
    is_report: bool = False
    encoding: Encoding
    sha256: str
    size_bytes: int
    sop_class_uid: str
    sop_instance_uid: str
    series_uid: str


class Ready(msgspec.Struct, frozen=True, tag="ready"):
    """Everything is imported: a task may come."""


class Rehearsed(msgspec.Struct, frozen=True, tag="rehearsed"):
    """The rehearsal is over."""

    seconds: float
    problem: str = ""  # why it did not go well; a study is tried all the same


class Stage(msgspec.Struct, frozen=True, tag="stage"):
    """What the child does now; `share` of the stage is done."""

    name: str
    share: float = 0.0


class Done(msgspec.Struct, frozen=True, tag="done", kw_only=True):
    """The task is finished."""

    objects: tuple[OutboxObject, ...]
    volumes_ml: dict[str, float]
    seconds: dict[str, float]
    repairs: tuple[str, ...]
    dropped: tuple[str, ...]
    cut: tuple[str, ...] = ()  # segments that reach the edge of the images
    peak_mb: float
    engine: str = ONNXRUNTIME  # that ran


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    """The task ended with an error, in the parts that `errors.rebuild` takes."""

    code: str
    message: str
    advice: str


class Measured(msgspec.Struct, frozen=True, tag="measured", kw_only=True):
    """What was measured; see `node.measured.Measurement`."""

    dice: float
    open_s: float
    seconds: float
    patch_s: float
    voxel_s: float
    peak_mb: float
    arrays_mb: float


Message = Ready | Rehearsed | Stage | Done | Failed | Measured

_messages = msgspec.json.Decoder(Message)
_requests = msgspec.json.Decoder(SegmentRequest | RehearsalRequest)


def encode(value: Message | SegmentRequest | RehearsalRequest | Bounds | MeasureRequest) -> bytes:
    """Return one line, with its end."""
    return msgspec.json.encode(value) + b"\n"


def read_message(line: bytes) -> Message:
    """Read a line from the child."""
    return _messages.decode(line)


def read_request(line: bytes) -> SegmentRequest | RehearsalRequest:
    """Read a line from the segmenter."""
    return _requests.decode(line)
