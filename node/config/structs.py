"""What can be configured, with its defaults. Field names are the keys of the YAML file.

Each process gets its own section as a frozen value; nobody reads a global.
"""

from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, field

from node.config.units import Between, Bytes, Pattern, Seconds

AeTitle = Annotated[str, Meta(pattern=r"^(?! )[ -\[\]-~]{1,16}(?<! )$")]  # PS3.5 6.2: VR AE
Port = Annotated[int, Meta(ge=1, le=65535)]
Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,31}$")]
SizeChoice = Literal["teacher", "large", "medium", "small", "tiny", "auto"]
EngineChoice = Literal["auto", "onnxruntime", "openvino", "openvino-bf16"]
AUTO = "auto"  # of a size or an engine: chosen by what was measured on this machine

GIB = 1 << 30


class _Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Unknown keys are refused: a typo must never become a default."""


class Node(_Strict, frozen=True, kw_only=True):
    """Who we are on the network."""

    ae_title: AeTitle = "SEGNODE"
    host: str = "0.0.0.0"  # noqa: S104  a DICOM node listens to the hospital's network
    port: Port = 11112
    max_associations: Annotated[int, Meta(ge=1, le=256)] = 32
    max_associations_per_host: Annotated[int, Meta(ge=1, le=256)] = 16
    largest_instance: Bytes = Bytes(2 * GIB)
    institution: str = ""
    uid_root: Annotated[str, Meta(pattern=r"^[0-2](\.(0|[1-9]\d*)){1,12}$", max_length=24)] = "2.25"


class Keep(_Strict, frozen=True, kw_only=True):
    """How long files stay after a series has ended."""

    sources: Seconds = Seconds(48 * 3600)
    results: Seconds = Seconds(30 * 86400)
    failed: Seconds = Seconds(14 * 86400)


class Data(_Strict, frozen=True, kw_only=True):
    """Where everything is kept."""

    dir: Path = Path("data")
    database: str = ""  # SQLAlchemy URL; empty: SQLite in `dir`
    keep: Keep = field(default_factory=Keep)
    stop_accepting_below: Bytes = Bytes(10 * GIB)


class Caller(_Strict, frozen=True, kw_only=True):
    """Who may send to us."""

    ae: AeTitle
    host: str = ""  # empty: from anywhere


class Target(_Strict, frozen=True, kw_only=True):
    """Where results go."""

    ae: AeTitle
    host: str
    port: Port = 104
    seg: Literal["binary", "labelmap"] = "binary"
    empty_frames: bool = False  # some viewers misplace sparse SEGs, others run out of memory
    report: bool = False  # also send the volumes as a TID 1500 report
    confirm: Literal["find", "none"] = "find"
    give_up_after: Seconds = Seconds(72 * 3600)


class Model(_Strict, frozen=True, kw_only=True):
    """Which packages there are, and which size of them runs."""

    dir: Path = Path("models")
    size: SizeChoice = "small"
    deadline: Seconds = Seconds(30)  # these two: what a size must fit that `auto` chooses
    memory: Bytes = Bytes(8 * GIB)  # and what no size may need that is named
    engine: EngineChoice = "auto"


class When(_Strict, frozen=True, kw_only=True):
    """What a series must be for a rule to apply; what is left out does not matter."""

    modality: Literal["MR", "CT"] | None = None
    description: Pattern | None = None  # of the series or the protocol
    body_part: Pattern | None = None
    plane: Literal["axial", "sagittal", "coronal", "oblique"] | None = None
    slice_spacing: Between | None = None
    pixel_spacing: Between | None = None
    slices: Between | None = None
    caller: AeTitle | None = None


class Rule(_Strict, frozen=True, kw_only=True):
    """First match wins; `use: none` records on purpose that nothing is done."""

    name: Name
    when: When = field(default_factory=When)
    use: str  # a task, a task/version, or none
    size: SizeChoice | None = None  # these three: instead of those of `model`
    deadline: Seconds | None = None
    memory: Bytes | None = None
    # while more segmentations wait than this, the next smaller size runs; None: never
    step_down_above: Annotated[int, Meta(ge=1, le=100_000)] | None = None
    send_to: tuple[Name, ...] = ()
    priority: Annotated[int, Meta(ge=0, le=9)] = 5  # 9 runs first


class Complete(_Strict, frozen=True, kw_only=True):
    """When a series is taken to be complete."""

    settle: Seconds = Seconds(1)  # after its association was released, if the geometry has no gap
    quiet: Seconds = Seconds(60)  # otherwise: no image for so long


class Limits(_Strict, frozen=True, kw_only=True):
    """What one job may take."""

    memory: Bytes = Bytes(8 * GIB)
    time: Seconds = Seconds(600)
    threads: Annotated[int, Meta(ge=0, le=256)] = 0  # 0: one per core
    niceness: Annotated[int, Meta(ge=0, le=19)] = 10
    attempts: Annotated[int, Meta(ge=1, le=20)] = 3  # of a segmentation that failed by accident


class Config(_Strict, frozen=True, kw_only=True):
    """The whole file."""

    node: Node = field(default_factory=Node)
    data: Data = field(default_factory=Data)
    callers: tuple[Caller, ...] | Literal["any"] = ()
    targets: dict[Name, Target] = {}
    model: Model = field(default_factory=Model)
    rules: tuple[Rule, ...] = ()
    complete: Complete = field(default_factory=Complete)
    limits: Limits = field(default_factory=Limits)


def problems(config: Config) -> list[tuple[str, str]]:
    """Return what types cannot say, as (path, sentence)."""
    found = []
    names = [rule.name for rule in config.rules]
    for index, rule in enumerate(config.rules):
        at = f"rules[{index}]"
        if names.index(rule.name) != index:
            found.append((f"{at}.name", f"there is an earlier rule called {rule.name!r}"))
        found += [(f"{at}.{key}", problem) for key, problem in _problems_of(rule, config)]
    for name, wanted in config.targets.items():
        if wanted.report and wanted.seg != "binary":
            problem = "a report needs seg: binary: readers do not know one on a label map"
            found.append((f"targets.{name}.report", problem))
    return found


def _problems_of(rule: Rule, config: Config) -> list[tuple[str, str]]:
    found = []
    for target in rule.send_to:
        if target not in config.targets:
            known = ", ".join(config.targets) or "none"
            found.append(("send_to", f"no target {target!r}; targets: {known}"))
    if rule.deadline is not None and (rule.size or config.model.size) != AUTO:
        found.append(("deadline", "a deadline chooses among sizes: it needs size: auto"))
    if rule.use != "none" and not rule.send_to:
        found.append(("send_to", "a rule that uses a model needs at least one target"))
    return found
