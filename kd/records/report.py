"""The records that kd writes and reads back: `report.json` of a release or a validation.

Every record has a format number. They are written and read here alone; a file of another format, or
one that is damaged, is refused by name. Volumes are in ml, distances in mm, shares from 0 to 1.
"""

from pathlib import Path
from typing import Literal, cast

import msgspec

from kd.errors import BadRecord
from node.package.manifest import Interval, SizeName

REPORT_FORMAT: Literal[1] = 1

MeasureName = Literal["dice", "nsd", "hd95_mm"]
MEASURES: tuple[MeasureName, ...] = ("dice", "nsd", "hd95_mm")


class _Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Frozen, and strict about its keys."""


class Measure(Interval, frozen=True, kw_only=True):
    """One measure: the mean over structures and cases, and the mean of each structure."""

    per_structure: dict[str, Interval]


class VolumeAgreement(_Record, frozen=True, kw_only=True):
    """Bland-Altman's bias and limits of agreement of one structure's volume, detected - true."""

    bias: float
    low: float
    high: float
    # bias in percent of the mean true volume; None: that is 0, or an earlier report
    percent: float | None = None


class Differences(_Record, frozen=True, kw_only=True):
    """Mean differences of two networks on the same cases, paired by case."""

    dice: Interval
    nsd: Interval
    hd95_mm: Interval

    def of(self, name: MeasureName) -> Interval:
        """Return the difference of one measure."""
        return {"dice": self.dice, "nsd": self.nsd, "hd95_mm": self.hd95_mm}[name]


class AgainstTeacher(Differences, frozen=True, kw_only=True):
    """A network minus the teacher of its package, and its share of the teacher's mean Dice."""

    retention: Interval


class Accuracy(_Record, frozen=True, kw_only=True):
    """The accuracy of one network on one set of cases."""

    dice: Measure
    nsd: Measure
    hd95_mm: Measure
    volume_ml: dict[str, VolumeAgreement]
    against_teacher: AgainstTeacher | None = None  # None: no teacher was measured

    def of(self, name: MeasureName) -> Measure:
        """Return one measure."""
        return {"dice": self.dice, "nsd": self.nsd, "hd95_mm": self.hd95_mm}[name]


class Cost(_Record, frozen=True, kw_only=True):
    """What one size costs on this machine, on the reference case, in a separate process."""

    seconds: float  # of one segmentation with the model loaded; median of several
    threads: int
    peak_mb: float  # largest resident memory of the process, interpreter included


class ExportCheck(_Record, frozen=True, kw_only=True):
    """How near an exported network is to the network it came from."""

    is_half: bool  # weights are stored as float16
    largest_difference: float  # of logits, onnxruntime against torch with the same weights
    changed_share: float  # of voxels whose class differs from the unrounded network's


class Budget(_Record, frozen=True, kw_only=True):
    """Seed and budget of one run; an imported run has neither."""

    seed: int | None
    steps: int | None
    minutes: float | None
    distilled: bool


class TrainingReport(_Record, frozen=True, kw_only=True):
    """How a network was trained, with all runs that it was continued from."""

    steps: int  # of all these runs together
    seconds: float
    distilled: bool  # at least one of these runs had a teacher
    terms: dict[str, float | bool] | None  # of the last distilled run, as in the recipe
    teacher: str | None  # SHA-256 of its soft targets or weights
    start: str | None  # SHA-256 of the weights that the last run began with
    inherits: str | None  # SHA-256 of the teacher's weights that the first run began with
    seed: int | None  # of the last run
    runs: tuple[Budget, ...]  # the first one first
    command: str
    networks: int = 1  # of an ensemble: its steps and seconds are added up


class SizeReport(Accuracy, frozen=True, kw_only=True):
    """Everything measured about one released size."""

    parameters: int
    macs_per_patch: int
    cost: Cost | None = None
    export: ExportCheck | None = None  # None in a validation: it exports and trains nothing
    training: TrainingReport | None = None


class ComparedAccuracy(Accuracy, frozen=True, kw_only=True):
    """The accuracy of a network that is not released, beside the released one of its size."""

    released_minus_this: Interval  # mean Dice, paired by case


class Comparison(ComparedAccuracy, frozen=True, kw_only=True):
    """A run that is not released: a baseline, another seed, an ablation."""

    size: SizeName
    training: TrainingReport
    external: dict[str, ComparedAccuracy] = {}  # by name of the external data set


class BaselineComparison(Differences, frozen=True, kw_only=True):
    """A distilled run minus its baseline, which differs from it in the teacher alone."""

    distilled: str  # name of a size or of a compared run
    baseline: str
    size: SizeName


class Cases(_Record, frozen=True, kw_only=True):
    """The number of cases that something was measured on, and of subjects among them."""

    cases: int
    subjects: int


class ExternalReport(Cases, frozen=True, kw_only=True):
    """Accuracy on an external data set, of the structures that its reference has."""

    name: str
    note: str
    structures: tuple[str, ...]
    sizes: dict[SizeName, Accuracy]


class ContrastDifference(_Record, frozen=True, kw_only=True):
    """One structure's volume against another contrast of the same subjects."""

    percent: float | None  # median difference; None: never detected in the other contrast
    correlation: float | None  # over subjects; None: too few, or no variation


class UnlabelledSize(_Record, frozen=True, kw_only=True):
    """What one size detects in images without reference labels."""

    refused: int  # results with implausible volumes
    volumes_ml: dict[str, float]  # median, by structure
    like_teacher: Interval | None = None  # Dice with the teacher's labels
    against: dict[str, ContrastDifference] | None = None  # by structure
    masked: dict[str, float] | None = None  # share of the marked lesions, by structure


class UnlabelledReport(Cases, frozen=True, kw_only=True):
    """Results on images without reference labels."""

    name: str
    note: str
    sizes: dict[SizeName, UnlabelledSize]


class EnsembleReport(_Record, frozen=True, kw_only=True):
    """The networks that wrote the soft targets."""

    size: SizeName
    folds: tuple[TrainingReport, ...]  # empty: they were imported


class NegativeCases(_Record, frozen=True, kw_only=True):
    """What one size detects in cases that show no structure; means are over these cases."""

    cases: int
    with_false_positives: int  # of them
    regions: float  # connected ones per case, mean
    ml: float  # per case, mean

    @property
    def sentence(self) -> str:
        """The same in words."""
        return (
            f"false positives in {self.with_false_positives} of {self.cases} negative cases, "
            f"{self.regions:.2g} regions and {self.ml:.3g} ml per case"
        )


class HeldOut(_Record, frozen=True, kw_only=True):
    """How many cases of an evaluation were held out of the training of the package."""

    used: int  # their images are training images
    held_out: int  # certainly not
    unknown: int  # they count as used

    @property
    def sentence(self) -> str:
        """The same in words."""
        cases = self.used + self.held_out + self.unknown
        if self.used:
            warning = "so the numbers are not those of held-out cases"
            return f"{self.used} of {cases} cases were used to train the package, {warning}."
        if self.unknown:
            warning = "whether these cases were held out is unknown, and they count as used"
            return f"The package does not list all of its training images: {warning}."
        return f"None of the {cases} cases was used to train the package."


class Report(Cases, frozen=True, kw_only=True):
    """All numbers of a release, or of a validation, which has only the first part."""

    format: Literal[1] = REPORT_FORMAT
    task: str
    version: str
    tolerance_mm: float  # of surface Dice
    held_out: HeldOut | None = None  # None: an earlier report
    sizes: dict[SizeName, SizeReport]
    negatives: dict[SizeName, NegativeCases] = {}  # cases without a structure; `cases` has none
    soft_targets: dict[str, str] = {}  # folder -> the command that wrote it
    ensemble: EnsembleReport | None = None
    compared: dict[str, Comparison] = {}  # by name of the run
    baselines: tuple[BaselineComparison, ...] = ()
    external: tuple[ExternalReport, ...] = ()
    unlabelled: tuple[UnlabelledReport, ...] = ()

    def training_of(self, name: str) -> TrainingReport | None:
        """Return how a size or a compared run was trained."""
        if name in self.compared:
            return self.compared[name].training
        return self.sizes[cast("SizeName", name)].training

    def accuracy_of(self, name: str) -> Accuracy:
        """Return the accuracy of a size or of a compared run."""
        return self.compared[name] if name in self.compared else self.sizes[cast("SizeName", name)]


class _Head(msgspec.Struct):
    """The format number of a record, whatever else it holds."""

    format: int = 0


def encode_report(report: Report) -> bytes:
    """Return a report as JSON that a person can read."""
    return msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n"


def read_report(path: Path) -> Report:
    """Read a report.

    Raises:
        BadRecord: the file is absent, damaged or of another format.
    """
    try:
        raw = path.read_bytes()
        version = msgspec.json.decode(raw, type=_Head).format
        if version != REPORT_FORMAT:
            message = f"{path} has format {version}, expected {REPORT_FORMAT}"
            raise BadRecord(message, advice="Read it with the version of kd that wrote it")
        return msgspec.json.decode(raw, type=Report)
    except OSError as exc:
        message = f"report {path} cannot be read: {exc.strerror}"
        raise BadRecord(message) from exc
    except msgspec.MsgspecError as exc:
        message = f"report {path} is damaged: {exc}"
        raise BadRecord(message, advice="Make it again with kd release or kd validate") from exc
