"""The gates of a release: the recipe's requirements against the measured report."""

from collections.abc import Mapping

from kd.evaluation.intervals import LEAST_SUBJECTS
from kd.recipe.choices import Gates
from kd.records import Accuracy, Differences, ExternalReport, Report
from node.package.manifest import SizeName


def failures(gates: Gates, report: Report) -> list[str]:
    """Return a sentence for every requirement that is not met; an empty list opens the gate.

    A requirement on a size, or on a comparison, that was not measured is not met.
    """
    problems = []
    for size, least in gates.dice.items():
        accuracy = report.sizes.get(size)
        dice = None if accuracy is None else accuracy.dice.mean
        problems += _at_least(size, "mean Dice", dice, least)
    for size, least in gates.retention.items():
        problems += _at_least(size, "retention", _retention(report.sizes, size), least)
    for size in gates.non_inferior:
        problems += _non_inferior(gates, report, size)
    for name, required in gates.external.items():
        problems += _external(name, required, report)
    for name, most in gates.volume_bias.items():
        problems += _volume_bias(name, most, report)
    return problems


def _non_inferior(gates: Gates, report: Report, size: SizeName) -> list[str]:
    if report.subjects < LEAST_SUBJECTS:
        required = f"requires {LEAST_SUBJECTS} subjects, there are {report.subjects}"
        return [f"{size}: a test of non-inferiority {required}"]
    accuracy = report.sizes.get(size)
    gaps: Differences | None = None if accuracy is None else accuracy.against_teacher
    lows = (None, None) if gaps is None else (gaps.dice.ci[0], gaps.nsd.ci[0])
    high = None if gaps is None else gaps.hd95_mm.ci[1]
    bound = "lower bound of the Dice difference"
    problems = _at_least(size, bound, lows[0], -gates.margin_dice)
    bound = "lower bound of the surface Dice difference"
    problems += _at_least(size, bound, lows[1], -gates.margin_nsd)
    return problems + _at_most_mm(size, high, gates.margin_hd95_mm)


def _external(name: str, required: Mapping[SizeName, float], report: Report) -> list[str]:
    """Return the requirements on one external data set that are not met."""
    measured = _measured_on(name, report)
    if measured is None:
        return [_not_measured(name)]
    problems = []
    for size, least in required.items():
        retention = _retention(measured.sizes, size)
        problems += _at_least(size, f"retention on {name}", retention, least)
    return problems


def _volume_bias(name: str, most: Mapping[str, float], report: Report) -> list[str]:
    """Return the biases of volumes on one external data set that are too large, of all sizes."""
    measured = _measured_on(name, report)
    if measured is None:
        return [_not_measured(name)]
    problems = []
    for size, accuracy in measured.sizes.items():
        for label, limit in most.items():
            volume = accuracy.volume_ml.get(label)
            percent = None if volume is None else volume.percent
            bound = f"volume bias of {label} on {name}"
            if percent is None:
                problems.append(f"{size}: {bound} was not measured")
            elif abs(percent) > limit:
                problems.append(f"{size}: {bound} is {percent:+.1f} %, beyond {limit:g} %")
    return problems


def _measured_on(name: str, report: Report) -> ExternalReport | None:
    return next((one for one in report.external if one.name == name), None)


def _not_measured(name: str) -> str:
    return f"{name} was not measured: give --external, the folder that holds its images"


def _retention(sizes: Mapping[SizeName, Accuracy], size: SizeName) -> float | None:
    accuracy = sizes.get(size)
    if accuracy is None or accuracy.against_teacher is None:
        return None
    return accuracy.against_teacher.retention.mean


def _at_least(size: SizeName, bound: str, value: float | None, least: float) -> list[str]:
    if value is None:
        return [f"{size}: {bound} was not measured"]
    return [] if value >= least else [f"{size}: {bound} is {value:.4f}, less than {least:g}"]


def _at_most_mm(size: SizeName, value: float | None, most: float) -> list[str]:
    bound = "upper bound of the HD95 difference"
    if value is None:
        return [f"{size}: {bound} was not measured"]
    return [] if value <= most else [f"{size}: {bound} is {value:.3f} mm, more than {most:g} mm"]
