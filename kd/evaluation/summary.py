"""Reports from scores: means, intervals over subjects, and paired differences.

Leaves distances to `kd.evaluation.measure` and intervals to `kd.evaluation.intervals`.
"""

from collections.abc import Mapping, Sequence

import msgspec
import numpy as np

from kd.evaluation.intervals import difference, interval, ratio
from kd.evaluation.measure import TOLERANCE_MM, Agreement
from kd.evaluation.scores import Score, subjects_of
from kd.recipe.read import TEACHER
from kd.records import (
    Accuracy,
    AgainstTeacher,
    Cost,
    Differences,
    Measure,
    MeasureName,
    Report,
    SizeReport,
    VolumeAgreement,
)
from node.package.manifest import Interval, Manifest, Metrics, SizeName

LIMITS_OF_AGREEMENT = 1.96  # standard deviations (Bland and Altman 1986)

Scores = Mapping[SizeName, list[Score]]


def report_of(manifest: Manifest, scores: Scores, costs: Mapping[SizeName, Cost]) -> Report:
    """Return the report of the sizes of a package on one set of cases."""
    labels = [part.label for part in manifest.segments]
    sizes = {}
    for size, mine in scores.items():
        measured = accuracy(mine, labels, scores.get(TEACHER))
        sizes[size] = SizeReport(
            **msgspec.structs.asdict(measured),
            parameters=manifest.sizes[size].parameters,
            macs_per_patch=manifest.sizes[size].macs_per_patch,
            cost=costs.get(size),
        )
    return Report(
        task=manifest.task,
        version=manifest.version,
        cases=max(len(mine) for mine in scores.values()),
        subjects=max(len(set(subjects_of(mine))) for mine in scores.values()),
        tolerance_mm=TOLERANCE_MM,
        sizes=sizes,
    )


def metrics_of(report: Report) -> dict[str, Metrics]:
    """Return what the manifest repeats of a report."""
    return {
        size: Metrics(
            cases=report.cases,
            dice=_plain(one.dice),
            dice_per_segment=one.dice.per_structure,
            retention=None if one.against_teacher is None else one.against_teacher.retention,
        )
        for size, one in report.sizes.items()
    }


def accuracy(
    scores: Sequence[Score], labels: Sequence[str], teacher: Sequence[Score] | None
) -> Accuracy:
    """Return the accuracy of one network; `teacher` has the scores of the same cases in order."""
    return Accuracy(
        dice=_measure(scores, "dice", labels),
        nsd=_measure(scores, "nsd", labels),
        hd95_mm=_measure(scores, "hd95_mm", labels),
        volume_ml={label: _bland_altman(scores, i) for i, label in enumerate(labels)},
        against_teacher=None if teacher is None else _against_teacher(scores, teacher),
    )


def differences(mine: Sequence[Score], theirs: Sequence[Score]) -> Differences:
    """Return the mean differences of all measures, mine - theirs, on the same cases."""
    return Differences(
        dice=paired(mine, theirs, "dice"),
        nsd=paired(mine, theirs, "nsd"),
        hd95_mm=paired(mine, theirs, "hd95_mm"),
    )


def paired(mine: Sequence[Score], theirs: Sequence[Score], name: MeasureName = "dice") -> Interval:
    """Return the mean difference of one measure, mine - theirs, on the same cases."""
    ours, others = ([score.mean(name) for score in side] for side in (mine, theirs))
    return difference(ours, others, subjects_of(mine))


def _against_teacher(scores: Sequence[Score], teacher: Sequence[Score]) -> AgainstTeacher:
    mine, theirs = ([score.mean("dice") for score in side] for side in (scores, teacher))
    gaps = differences(scores, teacher)
    return AgainstTeacher(
        retention=ratio(mine, theirs, subjects_of(scores)),
        dice=gaps.dice,
        nsd=gaps.nsd,
        hd95_mm=gaps.hd95_mm,
    )


def _measure(scores: Sequence[Score], name: MeasureName, labels: Sequence[str]) -> Measure:
    parts = {}
    for i, label in enumerate(labels):
        values = [one.of(name) for one in _labelled(scores, i)]
        subjects = subjects_of([s for s in scores if s.structures[i] is not None])
        parts[label] = interval(values, subjects)
    whole = interval([score.mean(name) for score in scores], subjects_of(scores))
    return Measure(mean=whole.mean, ci=whole.ci, per_structure=parts)


def _labelled(scores: Sequence[Score], at: int) -> list[Agreement]:
    """Return one structure in all cases in which it is labelled."""
    return [one for score in scores if (one := score.structures[at]) is not None]


def _bland_altman(scores: Sequence[Score], at: int) -> VolumeAgreement:
    """Return bias and limits of agreement of one structure's volume, detected - true, in ml.

    The bias in percent is that of the mean volume, so small structures of single cases, of which a
    few voxels are a large share, do not dominate it.
    """
    cases = _labelled(scores, at)
    gaps = np.array([one.found_ml - one.true_ml for one in cases])
    spread = LIMITS_OF_AGREEMENT * float(gaps.std(ddof=1)) if len(gaps) > 1 else 0.0
    bias, true_ml = float(gaps.mean()), float(np.mean([one.true_ml for one in cases]))
    percent = 100 * bias / true_ml if true_ml else None
    return VolumeAgreement(bias=bias, low=bias - spread, high=bias + spread, percent=percent)


def _plain(interval: Interval) -> Interval:
    return Interval(mean=interval.mean, ci=interval.ci)
