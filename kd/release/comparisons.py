"""The tables of validation.md beyond the test cases: baselines, other runs, other data sets."""

from kd.records import (
    Accuracy,
    ContrastDifference,
    Report,
    TrainingReport,
    UnlabelledReport,
    UnlabelledSize,
)
from kd.release.cells import cases_of, head, percent, row, signed, statistics
from kd.release.tables import structures, volume_bias
from node.package.manifest import SizeName

RUN = ["run", "size", "trained on", "seed", "steps"]  # the first columns of a table of runs
MEANS = ["mean Dice", "surface Dice", "HD95 mm", "share of the teacher's Dice"]
MOST_SHARES = 5  # of a lesion, by structure


def baselines(report: Report) -> list[str]:
    """Return the effect of distillation: each distilled run beside its baseline."""
    if not report.baselines:
        return []
    lines = [
        "## Effect of distillation",
        "",
        "Each distilled run and its baseline: a run of the same size, seed, steps, cases and other "
        "choices, trained on labels alone. Where channels are inherited, the difference is the "
        "effect of distillation and inheritance together. Equal steps take unequal time: minutes "
        "are distilled / baseline. Differences are distilled minus baseline, paired by case.",
        "",
        *head(
            [
                *RUN,
                "minutes",
                "distilled",
                "baseline",
                "share of the teacher's Dice",
                "Dice",
                "surface Dice",
                "HD95 mm",
            ]
        ),
    ]
    for pair in report.baselines:
        names = (pair.distilled, pair.baseline)
        trainings = [one for name in names if (one := report.training_of(name)) is not None]
        accuracies = [report.accuracy_of(name) for name in names]
        shares = [a.against_teacher for a in accuracies if a.against_teacher is not None]
        cells = _run(pair.distilled, pair.size, trainings[0], report)
        cells.append(" / ".join(f"{one.seconds / 60:.1f}" for one in trainings))
        cells += [one.dice.words() for one in accuracies]
        cells.append(" and ".join(f"{100 * one.retention.mean:.1f} %" for one in shares))
        cells += [signed(pair.dice), signed(pair.nsd), pair.hd95_mm.words("+.2f")]
        lines.append(row(cells))
    return [*lines, ""]


def compared(report: Report) -> list[str]:
    """Return the runs that are not released: baselines, other seeds, ablations."""
    if not report.compared:
        return []
    lines = [
        "## Runs that are not released",
        "",
        "On the same cases. The last column is the mean Dice of the released network of that size "
        "minus this run's, paired by case.",
        "",
        *head([*RUN, *MEANS, "released - this"]),
    ]
    for name, one in report.compared.items():
        cells = _run(name, one.size, one.training, report)
        lines.append(row([*cells, *_means(one), signed(one.released_minus_this)]))
    return [*lines, ""]


def external(report: Report) -> list[str]:
    """Return the accuracy on external data sets."""
    lines = []
    for one in report.external:
        lines += [f"### {one.name}: {cases_of(one)}", "", one.note.strip(), ""]
        lines += [statistics(one), ""]
        lines += head(["size", *MEANS])
        lines += [row([size, *_means(accuracy)]) for size, accuracy in one.sizes.items()]
        lines += ["", *structures(one, one.structures), *volume_bias(one)]
        lines += _not_released(report, one.name)
    return ["## External validation", "", *lines] if lines else []


def _not_released(report: Report, source: str) -> list[str]:
    """Return the accuracy, on one external data set, of the runs that are not released."""
    runs = {name: one for name, one in report.compared.items() if source in one.external}
    if not runs:
        return []
    lines = [
        "Runs that are not released, on the same cases. The last column is the released network's "
        "mean Dice minus this run's, paired by case.",
        "",
        *head(["run", "size", "trained on", "mean Dice", "released - this"]),
    ]
    for name, one in runs.items():
        accuracy = one.external[source]
        cells = [name, one.size, trained_on(one.training, report), accuracy.dice.words()]
        lines.append(row([*cells, signed(accuracy.released_minus_this)]))
    return [*lines, ""]


def unlabelled(report: Report) -> list[str]:
    """Return the results on images without reference labels."""
    lines = []
    for images in report.unlabelled:
        lines += [f"### {images.name}: {cases_of(images, 'image')}", "", images.note.strip(), ""]
        lines += [f"* {size}: {_phrases(one)}." for size, one in images.sizes.items()]
        lines += ["", *_contrasts(images)]
    return ["## Images without reference labels", "", *lines] if lines else []


def _phrases(one: UnlabelledSize) -> str:
    phrases = [f"{one.refused} results refused for implausible volumes"]
    if one.like_teacher is not None:
        phrases.append(f"Dice with the teacher's labels {one.like_teacher.words()}")
    if one.masked is not None:
        most = list(one.masked.items())[:MOST_SHARES]
        shares = ", ".join(f"{name} {100 * share:.0f} %" for name, share in most)
        phrases.append(f"labels inside the marked lesions: {shares}")
    return "; ".join(phrases)


def _contrasts(images: UnlabelledReport) -> list[str]:
    """Return, by structure, how the volumes of two contrasts of the same subjects differ."""
    sizes = {size: one.against for size, one in images.sizes.items() if one.against is not None}
    if not sizes:
        return []
    lines = [
        "Volume in these images against the other contrast of the same subject: median difference, "
        "and the correlation over subjects.",
        "",
        *head(["structure", *sizes]),
    ]
    labels = list(next(iter(sizes.values())))
    rows = [row([label, *(_contrast(one[label]) for one in sizes.values())]) for label in labels]
    return [*lines, *rows, ""]


def _contrast(difference: ContrastDifference) -> str:
    words = "not detected" if difference.percent is None else f"{difference.percent:+.0f} %"
    return words if difference.correlation is None else f"{words}, r {difference.correlation:.2f}"


def _run(name: str, size: SizeName, training: TrainingReport, report: Report) -> list[str]:
    """Return the cells of the columns `RUN`."""
    return [name, size, trained_on(training, report), str(training.seed), str(training.steps)]


def _means(one: Accuracy) -> list[str]:
    """Return the cells of the columns `MEANS`."""
    retention = None if one.against_teacher is None else one.against_teacher.retention
    return [one.dice.words(), one.nsd.words(), one.hd95_mm.words(".2f"), percent(retention)]


def trained_on(training: TrainingReport, report: Report) -> str:
    """Return in a few words what a run was trained on."""
    terms = training.terms
    if terms is None:
        return "labels"
    labels = terms.get("labels", 1.0)
    names = ["labels"] if labels == 1 else [f"labels × {labels:g}"]
    names += ["KL"] if terms.get("kl") else []
    names += ["boundary"] if terms.get("kl") and terms.get("boundary") else []
    names += ["soft Dice"] if terms.get("dice") else []
    names += ["channel-wise"] if terms.get("channel_wise") else []
    names += ["inherited channels"] if training.inherits else []
    distilled = [
        one
        for name in (*report.sizes, *report.compared)
        if (one := report.training_of(name)) is not None and one.distilled
    ]
    usual = distilled[0].teacher if distilled else training.teacher
    return " + ".join(names) + ("" if training.teacher == usual else "; other soft targets")
