"""The JSON of the page for other programs, as frozen structs; OpenAPI is generated from them.

Times are Unix seconds, volumes millilitres. An accession number, a patient ID or a description is
empty unless `data.index` keeps it as text.
"""

from msgspec import Struct


class Answer(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A part of an answer."""


class Refusal(Answer, frozen=True, kw_only=True):
    """Why a request is not fulfilled, and what to do."""

    status: int
    text: str
    advice: str


class Condition(Answer, frozen=True, kw_only=True):
    """What needs a person."""

    code: str
    subject: str
    since: float | None
    text: str
    advice: str


class Loop(Answer, frozen=True, kw_only=True):
    """One loop of the node."""

    name: str
    is_running: bool
    last_seen_s: float | None


class TargetSummary(Answer, frozen=True, kw_only=True):
    """One target and the deliveries that wait for it."""

    name: str
    ae_title: str
    address: str
    waiting: int
    oldest_s: float | None
    last_problem: str


class NodeStatus(Answer, frozen=True, kw_only=True):
    """The node at one moment. Without a readable database only conditions are known."""

    at: float
    version: str
    conditions: tuple[Condition, ...]
    loops: tuple[Loop, ...]
    targets: tuple[TargetSummary, ...]
    jobs: dict[str, dict[str, int]]  # kind -> state -> count
    is_accepting: bool | None
    disk_free_bytes: int | None


class StudyCriteria(Answer, frozen=True, kw_only=True):
    """A search; a study must meet all criteria that are given."""

    text: str = ""  # an accession number, a patient ID or a UID
    description: str = ""
    caller: str = ""
    study_from: str = ""  # YYYY-MM-DD
    study_to: str = ""
    after: str = ""  # `next` of the previous answer


class StudySummary(Answer, frozen=True, kw_only=True):
    """One study of a list."""

    id: int | None  # for /api/studies/{id}; null while all of its series are arriving
    study_uid: str
    accession: str
    patient_id: str
    study_date: str
    description: str
    caller: str
    last_at: float
    modalities: tuple[str, ...]
    endings: dict[str, int]  # ending -> number of series
    arriving: int


class StudyList(Answer, frozen=True, kw_only=True):
    """Studies, the one received last first; `unknown` says why there is none."""

    studies: tuple[StudySummary, ...]
    next: str | None
    unknown: str


class JobSummary(Answer, frozen=True, kw_only=True):
    """One job."""

    id: int
    study: int  # for /api/studies/{id}
    kind: str
    state: str
    target: str
    attempts: int
    created_at: float
    updated_at: float
    code: str
    reason: str
    advice: str


class JobList(Answer, frozen=True, kw_only=True):
    """Jobs, the newest first."""

    jobs: tuple[JobSummary, ...]
    next: str | None


class ReaderCaveat(Answer, frozen=True, kw_only=True):
    """What a reader of the result must know."""

    code: str
    text: str
    structures: tuple[str, ...]  # labels and sums whose volumes it limits; empty: all


class SeriesResult(Answer, frozen=True, kw_only=True):
    """One series: decision, result and jobs."""

    series_uid: str
    images: int
    modality: str
    caller: str
    received_at: float
    ending: str
    reason: str
    advice: str
    rule: str
    package: str
    size: str
    volumes_ml: dict[str, float]
    sums_ml: dict[str, float]
    caveats: tuple[ReaderCaveat, ...]
    jobs: tuple[JobSummary, ...]


class HistoryEvent(Answer, frozen=True, kw_only=True):
    """One event of a history."""

    at: float
    event: str
    actor: str
    job: int | None
    detail: str


class StudyResult(Answer, frozen=True, kw_only=True):
    """One study: its series, and the newest events of its history."""

    id: int
    study_uid: str
    series: tuple[SeriesResult, ...]
    events: tuple[HistoryEvent, ...]


class SizeSummary(Answer, frozen=True, kw_only=True):
    """One size of a package: its accuracy, and its cost on this machine."""

    name: str
    parameters: int
    mean_dice: float | None
    data_set: str
    engine: str  # empty: not measured here
    seconds: float | None
    memory_bytes: int | None


class PackageSummary(Answer, frozen=True, kw_only=True):
    """One installed package, or why it cannot be used."""

    name: str
    title: str
    problem: str
    sizes: tuple[SizeSummary, ...]


class PackageList(Answer, frozen=True, kw_only=True):
    """The installed packages."""

    packages: tuple[PackageSummary, ...]
