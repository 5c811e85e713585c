"""The page `validation.md`: all tables of a report, and how every run was trained."""

from collections.abc import Mapping, Sequence

from kd.recipe.choices import Gates
from kd.recipe.read import TEACHER, Recipe
from kd.records import Report, TrainingReport
from kd.release import comparisons, tables
from kd.release.card import held_out
from kd.release.cells import cases_of, head, row, statistics
from node.package import Manifest


def release_page(manifest: Manifest, recipe: Recipe, report: Report, command: str) -> str:
    """Return validation.md of a released package; `command` made the release."""
    labels = [segment.label for segment in manifest.segments]
    return "\n".join(
        [
            f"# Validation of {manifest.title} ({manifest.task} {manifest.version})",
            "",
            "The card is [card.md](card.md). Single cases are in `cases.csv`, all numbers in "
            "`report.json`.",
            "",
            *comparisons.external(report),
            "## Held-out cases",
            "",
            f"Measured on {held_out(recipe, report)}, through the production pipeline. "
            f"{statistics(report)} Surface Dice at {report.tolerance_mm:g} mm and HD95 by MONAI. "
            "Seconds and memory: the reference image, one thread, on the machine that made the "
            "release.",
            "",
            *tables.sizes(manifest, report),
            *tables.structures(report, labels),
            *tables.against_teacher(recipe.gates, report),
            *tables.volumes(manifest, report),
            *tables.negatives(report),
            "![Accuracy against latency](plots/accuracy.svg)",
            "",
            *comparisons.unlabelled(report),
            *comparisons.baselines(report),
            *comparisons.compared(report),
            "## Structures",
            "",
            *_segments(manifest),
            "## Training",
            "",
            " ".join([teacher_sentence(report), *inheritance(report)]),
            "",
            "The recipe is in the manifest. In the commands below, DATA is the data set, RUNS a "
            "folder of your choice and EXTERNAL the folder of the external sets. The release was "
            "made by:",
            "",
            f"    {command}",
            "",
            *_runs(report),
        ]
    )


def evaluation_page(
    manifest: Manifest, gates: Gates, report: Report, pictures: Mapping[str, Sequence[str]]
) -> str:
    """Return the page of one `kd validate`.

    Args:
        manifest: of the package.
        gates: whose margins decide what is not inferior.
        report: of this validation.
        pictures: file names by title, in the order in which they are shown.
    """
    labels = [segment.label for segment in manifest.segments]
    lines = [
        f"# {manifest.title} ({manifest.task} {manifest.version}): {cases_of(report)}",
        "",
        f"Measured through the production pipeline. {statistics(report)} Surface Dice at "
        f"{report.tolerance_mm:g} mm and HD95 by MONAI. Seconds and memory: the reference image, "
        "on the machine that made this page. Single cases are in `cases.csv`, all numbers in "
        "`report.json`. The pictures show patients: keep them where patient data is kept.",
        "",
        *([] if report.held_out is None else [report.held_out.sentence, ""]),
        *tables.sizes(manifest, report),
        *tables.structures(report, labels),
        *tables.against_teacher(gates, report, plot="differences.svg"),
        *tables.volumes(manifest, report),
        *tables.negatives(report),
    ]
    for title, names in pictures.items():
        lines += [f"## {title}", "", *(f"![{name}]({name})" for name in names), ""]
    return "\n".join(lines)


def teacher_sentence(report: Report) -> str:
    """State which sizes are distilled, and whether their teacher was trained on the same cases."""
    trainings = {size: measured.training for size, measured in report.sizes.items()}
    distilled = [size for size, one in trainings.items() if one is not None and one.distilled]
    if not distilled:
        return "All sizes were trained on reference labels alone; **none of them is distilled**."
    names = f"Distilled: {', '.join(distilled)}."
    folds = () if report.ensemble is None else report.ensemble.folds
    size = TEACHER if report.ensemble is None else report.ensemble.size
    if not folds:
        return names
    minutes = sum(fold.seconds for fold in folds) / 60
    if len(folds) == 1:
        return (
            f"{names} Their teacher is one network of size {size} ({folds[0].steps} steps in "
            f"{minutes:.0f} minutes) that was trained on every training case."
        )
    steps = ", ".join(sorted({str(fold.steps) for fold in folds}))
    released = "" if TEACHER in distilled else " The package's teacher is that ensemble."
    return (
        f"{names} Their teacher is an ensemble of {len(folds)} networks of size {size} ({steps} "
        f"steps each, {minutes:.0f} minutes together), each trained without one fold of the "
        "training cases. The soft target of a case is from the network that was not trained on "
        f"it.{released}"
    )


def inheritance(report: Report) -> list[str]:
    """State which sizes are initialised with weights of their teacher."""
    trainings = {size: measured.training for size, measured in report.sizes.items()}
    names = [size for size, one in trainings.items() if one is not None and one.inherits]
    if not names:
        return []
    return [
        f"Initialised from the teacher's strongest channels: {', '.join(names)}. Their baselines "
        "are initialised at random."
    ]


def _segments(manifest: Manifest) -> list[str]:
    """Return number, label and code of every structure."""
    lines = head(["number", "structure", "code", "meaning"])
    for segment in manifest.segments:
        code = f"{segment.type.scheme} {segment.type.value}"
        meaning = segment.type.meaning
        if segment.modifier is not None:
            code += f", {segment.modifier.scheme} {segment.modifier.value}"
            meaning += f", {segment.modifier.meaning}"
        lines.append(row([str(segment.number), segment.label, code, meaning]))
    return [*lines, ""]


def _runs(report: Report) -> list[str]:
    """Return every command, in the order in which it is run."""
    lines = []
    for folder, command in report.soft_targets.items():
        lines += [f"* soft targets in RUNS/{folder}:", "", f"      {command}", ""]
    for name in (*report.sizes, *report.compared):
        training = report.training_of(name)
        if training is None:
            continue
        if training.seed is None:
            lines += [f"* {name}: imported, not trained here.", ""]
            continue
        spent = f"{training.steps} steps in {training.seconds / 60:.1f} minutes"
        if training.networks > 1:
            spent = f"{training.networks} networks, together {spent}"
        lines += [f"* {name}: {spent}, {_seeds(training)}:", "", f"      {training.command}", ""]
    return lines


def _seeds(training: TrainingReport) -> str:
    """Return the seed, or the budget and seed of each of several consecutive runs."""
    if len(training.runs) == 1:
        return f"seed {training.seed}"
    parts = []
    for run in training.runs:
        budget = f"{run.minutes:g} minutes" if run.steps is None else f"{run.steps} steps"
        parts.append(f"{budget} {'distilled' if run.distilled else 'on labels'}, seed {run.seed}")
    return f"{'; then '.join(parts)}; the command of the last"
