"""Input and result of a job, as JSON: no path outside the data folder, no patient data."""

from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta, field

from node.caveats import Caveat
from node.encoding import Encoding
from node.errors import Defect

# A name, or a relative path without `..`, and no line break at the end
_NAME = r"[A-Za-z0-9_-][A-Za-z0-9._-]*"
FileName = Annotated[str, Meta(pattern=rf"^{_NAME}\Z")]
Below = Annotated[str, Meta(pattern=rf"^{_NAME}(/{_NAME})*\Z")]


class _Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A payload with unknown fields is a defect: another version wrote it."""


class Destination(_Strict, frozen=True, kw_only=True):
    """One target of a rule, by the name of its section in the configuration."""

    name: str
    encoding: Encoding = field(default_factory=Encoding)
    report: bool = False  # the volumes too, as a structured report
    rtstruct: bool = False  # contours too, as an RT Structure Set
    picture: bool = False  # the picture too, as Secondary Capture
    seg: bool = True  # False: only the other objects
    notice: bool = False  # a notice if the series cannot be segmented


class Reason(_Strict, frozen=True, kw_only=True):
    """Why a series is unsuitable, in the parts of an error."""

    code: str
    message: str
    advice: str = ""


class SegmentPayload(_Strict, frozen=True, kw_only=True):
    """One series through one size of one package."""

    series_key: FileName  # folder in the inbox
    files: tuple[FileName, ...]
    inputs_digest: str
    package: str  # task/version
    package_digest: str
    size: str
    engine: str = "onnxruntime"  # as planned: a repeated segmentation uses the same engine
    why: str = ""  # the reason for size and engine
    targets: tuple[Destination, ...]
    rule: str
    caller: str
    unsuitable: Reason | None = None  # the job only sends a notice of it
    created_at: float  # when it was planned: the time inside the SEG, the same for every attempt


class DeliverPayload(_Strict, frozen=True, kw_only=True):
    """One finished object to one target."""

    file: Below  # relative to the data folder
    sha256: str
    size_bytes: int
    sop_class_uid: str
    sop_instance_uid: str
    study_uid: str
    series_uid: str  # of the SEG
    target: str


class SegmentResult(_Strict, frozen=True, kw_only=True):
    """The result of a segmentation and its cost."""

    objects: tuple[str, ...]  # files relative to the data folder
    volumes_ml: dict[str, float]  # by segment label
    sums_ml: dict[str, float] = field(default_factory=dict)  # of several segments, by their name
    seconds: dict[str, float]  # by stage
    caveats: tuple[Caveat, ...] = ()  # what a reader of the result must know
    peak_mb: float = 0.0
    engine: str = ""  # the engine that ran


class DeliverResult(_Strict, frozen=True, kw_only=True):
    """The answer of the target."""

    status: str  # by name
    confirmed_by: Literal["", "query", "commitment"] = ""
    note: str = ""
    seconds: float = 0.0


Payload = SegmentPayload | DeliverPayload
Result = SegmentResult | DeliverResult
_T = TypeVar("_T", SegmentPayload, DeliverPayload, SegmentResult, DeliverResult)


def encode(value: Payload | Result) -> str:
    """Return `value` as the JSON text of a row."""
    return msgspec.json.encode(value).decode()


def decode(text: str, kind: type[_T]) -> _T:
    """Decode the JSON text of a row.

    Raises:
        Defect: it does not match what this version writes.
    """
    try:
        return msgspec.json.decode(text, type=kind)
    except msgspec.MsgspecError as exc:
        message = f"a database row does not hold a {kind.__name__}"
        raise Defect(message, advice="Was it written by another version of the node?") from exc


def as_plain(text: str) -> dict[str, Any]:
    """Decode the JSON text of a row for display, whichever version wrote it."""
    return msgspec.json.decode(text, type=dict[str, Any]) if text else {}
