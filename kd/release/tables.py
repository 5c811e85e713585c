"""The tables of one set of cases, in Markdown: accuracy, structures, differences and volumes."""

from collections.abc import Mapping, Sequence

from kd.recipe.choices import Gates
from kd.recipe.read import TEACHER
from kd.records import AgainstTeacher, ExternalReport, Report, SizeReport, VolumeAgreement
from kd.release.cells import (
    has_intervals,
    head,
    millilitres,
    percent,
    percent_bias,
    row,
    signed,
)
from node.package import Manifest
from node.package.manifest import SizeName

TOO_FEW = "too few subjects"
MOST_COLUMNS = 8  # structures side by side in one table


def sizes(manifest: Manifest, report: Report) -> list[str]:
    """Return the cost and the accuracy of every size."""
    labels = [segment.label for segment in manifest.segments]
    if len(labels) > MOST_COLUMNS:
        labels = []  # `structures` has one line for each
    columns = ["size", "parameters", "GMAC per patch", "mean Dice", *labels]
    columns += ["surface Dice", "HD95 mm", "share of the teacher's Dice", "seconds", "peak MB"]
    lines = head(columns)
    for size, one in report.sizes.items():
        cells = [
            size,
            f"{one.parameters:,}",
            f"{one.macs_per_patch / 1e9:.2f}",
            one.dice.words(),
            *(one.dice.per_structure[label].words() for label in labels),
            one.nsd.words(),
            one.hd95_mm.words(".2f"),
            percent(None if one.against_teacher is None else one.against_teacher.retention),
            "" if one.cost is None else f"{one.cost.seconds:.2f}",
            "" if one.cost is None else f"{one.cost.peak_mb:.0f}",
        ]
        lines.append(row(cells))
    return [*lines, ""]


def negatives(report: Report) -> list[str]:
    """Return what each size detects in the cases that show no structure; nothing without any."""
    if not report.negatives:
        return []
    head_cells = ["size", "negative cases", "with false positives", "regions per case"]
    lines = head([*head_cells, "ml per case"])
    for size, one in report.negatives.items():
        cells = [size, str(one.cases), str(one.with_false_positives)]
        lines.append(row([*cells, f"{one.regions:.2g}", f"{one.ml:.3g}"]))
    title = "Cases that show none of the structures are not part of the means above."
    return [title, "", *lines, ""]


def structures(report: Report | ExternalReport, labels: Sequence[str]) -> list[str]:
    """Return the Dice of each structure in its line, where there are too many for columns."""
    if len(labels) <= MOST_COLUMNS:
        return []
    lines = head(["Dice", *report.sizes])
    for label in labels:
        cells = [one.dice.per_structure[label].words(".3f") for one in report.sizes.values()]
        lines.append(row([label, *cells]))
    return [*lines, ""]


def against_teacher(gates: Gates, report: Report, plot: str = "plots/differences.svg") -> list[str]:
    """Return the students' paired differences to the teacher, and which are within the margins."""
    gaps = {
        size: one.against_teacher
        for size, one in report.sizes.items()
        if size != TEACHER and one.against_teacher is not None
    }
    if not gaps:
        return []
    lines = [
        "Student minus teacher, paired by case. A student is *not inferior* in a measure if the "
        "95 % interval of its loss stays within the recipe's margin: "
        f"{gates.margin_dice} in Dice, {gates.margin_nsd} in surface Dice, "
        f"{gates.margin_hd95_mm} mm in HD95.",
        "",
        *head(["size", "Dice", "surface Dice", "HD95 mm", "not inferior in"]),
    ]
    for size, gap in gaps.items():
        verdict = _not_inferior(gap, gates) if has_intervals(report) else TOO_FEW
        cells = [size, signed(gap.dice), signed(gap.nsd), gap.hd95_mm.words("+.2f"), verdict]
        lines.append(row(cells))
    return [*lines, "", f"![Differences by case]({plot})", ""]


def _not_inferior(gap: AgainstTeacher, gates: Gates) -> str:
    """Name the measures in which the worse end of the interval is within the margin."""
    within = {
        "Dice": gap.dice.ci[0] >= -gates.margin_dice,
        "surface Dice": gap.nsd.ci[0] >= -gates.margin_nsd,
        "HD95": gap.hd95_mm.ci[1] <= gates.margin_hd95_mm,
    }
    return ", ".join(name for name, is_within in within.items() if is_within) or "none"


def volume_bias(report: ExternalReport) -> list[str]:
    """Return the bias of each structure's volume in percent; nothing of an earlier report."""
    biases = {
        label: [one.volume_ml[label].percent for one in report.sizes.values()]
        for label in report.structures
        if all(label in one.volume_ml for one in report.sizes.values())
    }
    if not any(value is not None for values in biases.values() for value in values):
        return []
    lines = head(["bias of the volume", *report.sizes])
    for label, values in biases.items():
        cells = ["not in the reference" if v is None else percent_bias(v) for v in values]
        lines.append(row([label, *cells]))
    return [
        "Volumes, detected minus the reference, in percent of the mean volume of the reference.",
        "",
        *lines,
        "",
    ]


def volumes(manifest: Manifest, report: Report) -> list[str]:
    """Return volumes, detected minus true, in ml: mean and limits of agreement (Bland-Altman)."""
    labels = [segment.label for segment in manifest.segments]
    title = "Volumes, detected minus true, in ml: bias and 95 % limits of agreement (Bland-Altman)."
    if len(labels) > MOST_COLUMNS:
        return [title, "", *_long_volumes(report.sizes, labels), ""]
    lines = head(["size", *labels])
    for size, one in report.sizes.items():
        lines.append(row([size, *(_agreement(one.volume_ml[label]) for label in labels)]))
    return [title, "", *lines, ""]


def _long_volumes(sizes: Mapping[SizeName, SizeReport], labels: Sequence[str]) -> list[str]:
    lines = head(["structure", *sizes])
    for label in labels:
        cells = [_agreement(one.volume_ml[label]) for one in sizes.values()]
        lines.append(row([label, *cells]))
    return lines


def _agreement(volume: VolumeAgreement) -> str:
    bias, low, high = (millilitres(v) for v in (volume.bias, volume.low, volume.high))
    return f"{bias} ({low} to {high})"
