"""The keys of node.yaml and their defaults, as frozen structs; field names are the keys.

Every process receives the configuration as a value; there is no global one.
"""

from pathlib import Path
from typing import Annotated, Literal, TypeVar

import msgspec
from msgspec import Meta, field

from node.config.audit import AuditConfig
from node.config.monitor import (
    MONITOR_MEANINGS,
    AlertsConfig,
    PageConfig,
)
from node.config.units import Ages, Bytes, CertificateName, Lengths, Range, Seconds, Texts, Words
from node.encoding import EncodingChoice

_AE = r"^(?! )[ -\[\]-~]{1,16}(?<! )$"  # PS3.5 6.2: VR AE
_NAME = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,31}$"
_LINE = r"^[^\\\x00-\x1f\x7f]{0,64}$"  # PS3.5 6.2: VR LO
_PACKAGE = r"^[a-z0-9]+(-[a-z0-9]+)*/\d+\.\d+(\.\d+)?$"
_SHA256 = r"^[0-9a-f]{64}$"
_USE = r"^(none|[a-z0-9]+(-[a-z0-9]+)*(/[0-9]+\.[0-9]+(\.[0-9]+)?)?)$"
_ROOT = r"^(?=.{1,24}$)[0-2](\.(0|[1-9]\d*)){1,12}$"
MEANINGS = {  # pattern -> the message for a value that does not match it
    _AE: "an AE title has 1 to 16 plain characters, no backslash, and no space at its ends",
    _NAME: "a name has 1 to 32 letters, digits, - or _, and begins with a letter or a digit",
    _LINE: "write at most 64 characters in one line, without a backslash",
    _PACKAGE: "write task/version, like brain-mr/1.3",
    _SHA256: "write the 64 hexadecimal digits that `segnode models list` prints, in quotes",
    _USE: "write a task such as brain-mr, a task/version such as brain-mr/1.3, or none",
    _ROOT: 'write digits and dots in quotes, like "2.25", at most 24 characters',
    **MONITOR_MEANINGS,
}
AeTitle = Annotated[str, Meta(pattern=_AE)]
Port = Annotated[int, Meta(ge=1, le=65535)]
Name = Annotated[str, Meta(pattern=_NAME)]
PackageName = Annotated[str, Meta(pattern=_PACKAGE)]
Sha256 = Annotated[str, Meta(pattern=_SHA256)]
SizeChoice = Literal["teacher", "large", "small", "tiny", "fast", "auto"]
IndexMode = Literal["plain", "hashed", "none"]
EngineChoice = Literal["auto", "onnxruntime", "openvino", "openvino-bf16"]
Modality = Literal["MR", "CT"]
Plane = Literal["axial", "sagittal", "coronal", "oblique"]
_T = TypeVar("_T")
_S = TypeVar("_S", bound=str)
SeveralOf = Annotated[tuple[_T, ...], Meta(min_length=1)]
AUTO = "auto"  # size or engine: chosen by measurements on this machine

GIB = 1 << 30
LONGEST_REPORT_WAIT_S = 7 * 86400.0


class _Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Refuses unknown keys: a typo must never become a default."""


class NodeConfig(_Strict, frozen=True, kw_only=True):
    """Section `node`: this node on the network."""

    ae_title: AeTitle = "SEGNODE"
    host: str = "0.0.0.0"  # noqa: S104  a DICOM node listens to the hospital's network
    port: Port = 11112
    max_associations: Annotated[int, Meta(ge=1, le=256)] = 32
    max_associations_per_host: Annotated[int, Meta(ge=1, le=256)] = 16
    largest_instance: Bytes = Bytes(2 * GIB)
    institution: Annotated[str, Meta(pattern=_LINE)] = ""
    uid_root: Annotated[str, Meta(pattern=_ROOT)] = "2.25"


class KeepConfig(_Strict, frozen=True, kw_only=True):
    """Section `data.keep`: how long files stay after a series has ended."""

    sources: Seconds = Seconds(48 * 3600)
    results: Seconds = Seconds(30 * 86400)
    failed: Seconds = Seconds(14 * 86400)
    history: Seconds = Seconds(5 * 365 * 86400)  # rows; at least as long as the files


class DataConfig(_Strict, frozen=True, kw_only=True):
    """Section `data`: where images, results and the database are stored."""

    dir: Path = Path("data")
    database: str = ""  # SQLAlchemy URL; empty: SQLite in `dir`
    keep: KeepConfig = field(default_factory=KeepConfig)
    index: IndexMode = "hashed"  # how the database keeps accession number, patient ID, description
    stop_accepting_below: Bytes = Bytes(10 * GIB)


class TlsConfig(_Strict, frozen=True, kw_only=True):
    """Section `tls`: encrypted connections in both directions, with three PEM files."""

    certificate: Path | None = None  # of this node, then those of intermediate authorities
    key: Path | None = None  # of this certificate, without a password
    trust: Path | None = None  # authorities whose certificates peers may present, or these alone
    port: Port = 2762  # "dicom-tls" at IANA
    profile: Literal["bcp195", "bcp195-modified"] = "bcp195"  # PS3.15 B.12, B.13
    only: bool = False  # no port without TLS
    warn_before: Seconds = Seconds(30 * 86400)

    @property
    def is_on(self) -> bool:
        """Whether the node uses TLS."""
        return self.certificate is not None


class Caller(_Strict, frozen=True, kw_only=True):
    """One entry of `callers`: an AE title that may send to this node."""

    ae: AeTitle
    host: Annotated[str, Meta(min_length=1)] = ""  # without the key: from anywhere
    certificate: CertificateName = CertificateName("")  # without the key: any, or no TLS
    commitment: bool = False  # promise storage: it may delete its images, and we are no archive
    port: Port | None = None  # at which it receives the reports about them


class Target(_Strict, frozen=True, kw_only=True):
    """One entry of `targets`: a DICOM node that receives results."""

    ae: AeTitle
    host: str
    port: Port = 104
    tls: bool = False
    certificate: CertificateName = CertificateName("")  # without the key: one that names `host`
    seg: EncodingChoice = "binary"
    empty_frames: bool = (
        False  # of BINARY: some viewers misplace sparse SEGs, others run out of memory
    )
    report: bool = False  # also send the volumes as a TID 1500 report
    rtstruct: bool = False  # also send contours as an RT Structure Set
    picture: bool = False  # also send the picture of the result as Secondary Capture
    notice: bool = False  # send a text if a series cannot be segmented, as Basic Text SR
    confirm: Literal["commitment", "find", "none"] = "find"
    report_within: Seconds = Seconds(3600)  # with `confirm: commitment`; then it is queried
    give_up_after: Seconds = Seconds(72 * 3600)


class ModelConfig(_Strict, frozen=True, kw_only=True):
    """Section `model`: the folder of packages, and the size and engine that run."""

    dir: Path = Path("models")
    size: SizeChoice = "small"
    # limits for `size: auto`; a fixed size must fit `memory` too
    deadline: Seconds = Seconds(30)
    memory: Bytes = Bytes(8 * GIB)
    engine: EngineChoice = "auto"
    # by task/version; with any entry here, rules use no package that has none
    digests: dict[PackageName, Sha256] = {}


class When(_Strict, frozen=True, kw_only=True):
    """Section `when` of a rule: the conditions on a series; None matches every series.

    All conditions must match. A condition with a list matches if one of its values does.
    """

    modality: Modality | SeveralOf[Modality] | None = None
    body_part: Words | None = None
    description: Texts | None = None  # of the series or the protocol
    study_description: Texts | None = None
    series_description: Texts | None = None
    protocol_name: Texts | None = None
    sequence_name: Texts | None = None
    image_type: Words | None = None
    contrast_agent: Texts | None = None
    manufacturer: Texts | None = None
    station_name: Words | None = None
    patient_age: Ages | None = None
    plane: Plane | SeveralOf[Plane] | None = None
    slice_spacing: Lengths | None = None
    pixel_spacing: Lengths | None = None
    slices: Range | None = None
    caller: AeTitle | SeveralOf[AeTitle] | None = None


def several(values: _S | tuple[_S, ...] | None) -> tuple[_S, ...]:
    """Return the values of a condition that takes one or a list; no values if it is absent."""
    if values is None:
        return ()
    return values if isinstance(values, tuple) else (values,)


class Rule(_Strict, frozen=True, kw_only=True):
    """One entry of `rules`: the first rule that matches decides; `use: none` only records."""

    name: Name
    when: When = field(default_factory=When)
    use: Annotated[str, Meta(pattern=_USE)]  # a task, a task/version, or none
    size: SizeChoice | None = None  # this, deadline and memory override those of `model`
    deadline: Seconds | None = None
    memory: Bytes | None = None
    # with more segmentations waiting than this, the next smaller size runs; None: never
    step_down_above: Annotated[int, Meta(ge=1, le=100_000)] | None = None
    comparable: bool = False  # volumes are compared over time: never another size under backlog
    send_to: tuple[Name, ...] = ()
    priority: Annotated[int, Meta(ge=0, le=9)] = 5  # 9 runs first


class CompleteConfig(_Strict, frozen=True, kw_only=True):
    """Section `complete`: when a series counts as complete."""

    settle: Seconds = Seconds(1)  # after its association was released, if no slice is missing
    quiet: Seconds = Seconds(60)  # otherwise: after its last image
    copies: Literal["first", "last"] = "first"  # of an image with a coerced header: which is used


class Limits(_Strict, frozen=True, kw_only=True):
    """Section `limits`: what one segmentation may use."""

    memory: Bytes = Bytes(8 * GIB)
    time: Seconds = Seconds(600)
    threads: Annotated[int, Meta(ge=0, le=256)] = 0  # 0: one per available CPU
    niceness: Annotated[int, Meta(ge=0, le=19)] = 10
    attempts: Annotated[int, Meta(ge=1, le=20)] = 3  # of a segmentation whose process crashed


class Config(_Strict, frozen=True, kw_only=True):
    """The whole configuration."""

    node: NodeConfig = field(default_factory=NodeConfig)
    data: DataConfig = field(default_factory=DataConfig)
    tls: TlsConfig = field(default_factory=TlsConfig)
    callers: tuple[Caller, ...] | Literal["any"] = ()
    targets: dict[Name, Target] = {}
    model: ModelConfig = field(default_factory=ModelConfig)
    rules: tuple[Rule, ...] = ()
    complete: CompleteConfig = field(default_factory=CompleteConfig)
    limits: Limits = field(default_factory=Limits)
    page: PageConfig = field(default_factory=PageConfig)
    alerts: AlertsConfig = field(default_factory=AlertsConfig)
    audit: AuditConfig = field(default_factory=AuditConfig)

    @property
    def is_monitored(self) -> bool:
        """Whether the loop `monitor` has something to do."""
        return self.page.enabled or bool(self.alerts.webhook or self.audit.syslog.host)
