"""What a job carries in and out, as JSON: no paths that leave the data folder, no patient data."""

from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta, field

from node.errors import Defect

# One name, or names below one another; never absolute, never upwards, no end of line
_NAME = r"[A-Za-z0-9_-][A-Za-z0-9._-]*"
FileName = Annotated[str, Meta(pattern=rf"^{_NAME}\Z")]
Below = Annotated[str, Meta(pattern=rf"^{_NAME}(/{_NAME})*\Z")]


class _Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A payload of another version is a defect, not a guess."""


class EncodingChoice(_Strict, frozen=True, kw_only=True):
    """How a target wants its SEG."""

    kind: Literal["binary", "labelmap"] = "binary"
    omit_empty_frames: bool = True


class Destination(_Strict, frozen=True, kw_only=True):
    """One target of a rule, by the name of its section in the configuration."""

    name: str
    encoding: EncodingChoice = field(default_factory=EncodingChoice)
    report: bool = False  # the volumes too, as a structured report


class SegmentPayload(_Strict, frozen=True, kw_only=True):
    """One series through one size of one package."""

    series_key: FileName  # folder in the inbox
    files: tuple[FileName, ...]
    inputs_digest: str
    package: str  # task/version
    package_digest: str
    size: str
    engine: str = "onnxruntime"  # planned: a result that is made again comes from the same one
    why: str = ""  # this size and this engine
    targets: tuple[Destination, ...]
    rule: str
    caller: str
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
    """What a segmentation found and what it took."""

    objects: tuple[str, ...]  # files relative to the data folder
    volumes_ml: dict[str, float]  # by segment label
    seconds: dict[str, float]  # by stage
    repairs: tuple[str, ...] = ()  # of the copied header
    dropped: tuple[str, ...] = ()  # images of the series that were left out, and why
    cut: tuple[str, ...] = ()  # segments that reach the edge of the images: there may be more
    peak_mb: float = 0.0
    engine: str = ""  # that ran


class DeliverResult(_Strict, frozen=True, kw_only=True):
    """What the target answered."""

    status: str  # by name
    confirmed: bool
    note: str = ""
    seconds: float = 0.0


Payload = SegmentPayload | DeliverPayload
Result = SegmentResult | DeliverResult
_T = TypeVar("_T", SegmentPayload, DeliverPayload, SegmentResult, DeliverResult)


def encode(value: Payload | Result) -> str:
    """Return the JSON text that a row holds."""
    return msgspec.json.encode(value).decode()


def decode(text: str, kind: type[_T]) -> _T:
    """Read a row's JSON text.

    Raises:
        Defect: it is not what this version writes.
    """
    try:
        return msgspec.json.decode(text, type=kind)
    except msgspec.MsgspecError as exc:
        message = f"a row does not hold a {kind.__name__}"
        raise Defect(message, advice="Was it written by another version of the node?") from exc


def as_plain(text: str) -> dict[str, Any]:
    """Read a row's JSON text for display, whatever wrote it."""
    return msgspec.json.decode(text, type=dict[str, Any]) if text else {}
