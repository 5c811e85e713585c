"""Reports for tests of gates, tables and cards, without any measuring."""

from collections.abc import Mapping

from kd.records import (
    Accuracy,
    AgainstTeacher,
    Budget,
    Comparison,
    ExternalReport,
    Measure,
    Report,
    SizeReport,
    TrainingReport,
)
from node.package.manifest import Interval, SizeName


def value(mean: float, half: float = 0.0) -> Interval:
    """Return a mean with an interval of this half width."""
    return Interval(mean=mean, ci=(mean - half, mean + half))


def measure(mean: float) -> Measure:
    """Return a measure of no structure."""
    return Measure(mean=mean, ci=(mean, mean), per_structure={})


def against(lost: float) -> AgainstTeacher:
    """Return the differences to a teacher of Dice 0.9 that is better by `lost`."""
    return AgainstTeacher(
        retention=value((0.9 - lost) / 0.9),
        dice=value(-lost, 0.002),
        nsd=value(-lost, 0.002),
        hd95_mm=value(10 * lost, 10 * lost),
    )


def accuracy(lost: float = 0.0) -> Accuracy:
    """Return the accuracy of a student whose teacher is better by `lost`."""
    return Accuracy(
        dice=measure(0.9 - lost),
        nsd=measure(0.9),
        hd95_mm=measure(2.0),
        volume_ml={},
        against_teacher=against(lost),
    )


def training(
    *, distilled: bool = False, inherits: str | None = None, steps: int = 12
) -> TrainingReport:
    """Return the training of one run of seed 1."""
    return TrainingReport(
        steps=steps,
        seconds=90.0,
        distilled=distilled,
        terms={"labels": 1.0, "kl": 1.0} if distilled else None,
        teacher="a teacher" if distilled else None,
        start=None,
        inherits=inherits,
        seed=1,
        runs=(Budget(seed=1, steps=steps, minutes=None, distilled=distilled),),
        command="kd train",
    )


def size(
    lost: float = 0.0, trained: TrainingReport | None = None, *, has_teacher: bool = True
) -> SizeReport:
    """Return what was measured about a size whose teacher is better by `lost`."""
    measured = accuracy(lost)
    return SizeReport(
        dice=measured.dice,
        nsd=measured.nsd,
        hd95_mm=measured.hd95_mm,
        volume_ml={},
        against_teacher=measured.against_teacher if has_teacher else None,
        parameters=1000,
        macs_per_patch=1000,
        training=trained,
    )


def comparison(of: SizeName, trained: TrainingReport) -> Comparison:
    """Return a run that is not released."""
    measured = accuracy()
    return Comparison(
        dice=measured.dice,
        nsd=measured.nsd,
        hd95_mm=measured.hd95_mm,
        volume_ml={},
        released_minus_this=value(0.0),
        size=of,
        training=trained,
    )


def report(sizes: Mapping[SizeName, SizeReport], subjects: int = 20) -> Report:
    """Return a report of these sizes, on one case of each subject."""
    return Report(
        task="two-balls",
        version="0.1",
        cases=subjects,
        subjects=subjects,
        tolerance_mm=1.0,
        sizes=dict(sizes),
    )


def external(name: str, sizes: Mapping[SizeName, Accuracy]) -> ExternalReport:
    """Return the report of an external data set of twenty subjects."""
    return ExternalReport(
        name=name,
        note="A note.",
        structures=("Bright ball",),
        cases=20,
        subjects=20,
        sizes=dict(sizes),
    )
