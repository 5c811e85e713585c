"""The tables of a card: Markdown, made from a report's numbers and nothing else."""

from collections.abc import Sequence
from typing import Any

from kd.evaluation.validate import MEASURES
from kd.recipe.read import TEACHER
from kd.release.cells import cases_of, has_intervals, interval, row, signed
from node.package import Manifest

TOO_FEW = "too few subjects to tell"
MOST_SHARES = 5  # of a lesion, by segment
MOST_COLUMNS = 8  # structures side by side in one table


def sizes(manifest: Manifest, numbers: dict[str, Any]) -> list[str]:
    """Return the table of the released sizes: cost and accuracy."""
    labels = [s.label for s in manifest.segments]
    if len(labels) > MOST_COLUMNS:
        labels = []  # `structures` has them, one in each line
    head = ["size", "parameters", "GMAC per patch", "mean Dice", *labels]
    head += ["surface Dice", "HD95 mm", "retention", "seconds", "peak MB"]
    lines = [row(head), "|" + "---|" * len(head)]
    for size, found in numbers["sizes"].items():
        dice = found["dice"]
        cells = [
            size,
            f"{found['parameters']:,}",
            f"{found['macs_per_patch'] / 1e9:.2f}",
            interval(dice),
            *(interval(dice["per_structure"][label]) for label in labels),
            interval(found["nsd"]),
            interval(found["hd95_mm"]),
            interval(found["retention"]) if "retention" in found else "",
            f"{found['seconds']:.2f}" if "seconds" in found else "",
            f"{found['peak_mb']:.0f}" if "seconds" in found else "",
        ]
        lines.append(row(cells))
    return lines


def structures(numbers: dict[str, Any], labels: Sequence[str]) -> list[str]:
    """Return Dice of each structure, where there are too many for a column each."""
    if len(labels) <= MOST_COLUMNS:
        return []
    names = list(numbers["sizes"])
    lines = ["", row(["Dice", *names]), "|" + "---|" * (len(names) + 1)]
    for label in labels:
        found = [numbers["sizes"][size]["dice"]["per_structure"][label] for size in names]
        lines.append(row([label, *(interval(one) for one in found)]))
    return lines


def elsewhere(numbers: dict[str, Any]) -> list[str]:
    """Return what was measured on cases of other sources."""
    lines = []
    for found in numbers.get("elsewhere", []):
        lines += [
            f"### {found['name']}: {cases_of(found)}",
            "",
            found["note"].strip(),
            "",
        ]
        lines += [
            "| size | mean Dice | surface Dice | HD95 mm | retention |",
            "|---|---|---|---|---|",
        ]
        for size, one in found["sizes"].items():
            kept = interval(one["retention"]) if "retention" in one else ""
            cells = [interval(one[key]) for key in MEASURES]
            lines.append(row([size, *cells, kept]))
        lines += [
            *structures(found, found["structures"]),
            "",
            *_not_released(numbers, found["name"]),
        ]
    return ["## External validation", "", *lines] if lines else []


def _not_released(numbers: dict[str, Any], source: str) -> list[str]:
    """Return how the runs that are not released do on the cases of one other source."""
    runs = {name: one for name, one in numbers.get("compared", {}).items() if "elsewhere" in one}
    if not runs:
        return []
    lines = [
        "Runs that are not released, on the same cases; the last column is the released network's "
        "mean Dice minus this one's, paired by case:",
        "",
        "| run | size | learns from | mean Dice | released - this |",
        "|---|---|---|---|---|",
    ]
    for name, one in runs.items():
        found = one["elsewhere"][source]
        cells = [name, one["size"], _lesson(one["training"], numbers), interval(found["dice"])]
        lines.append(row([*cells, signed(found["released_minus_this"])]))
    return [*lines, ""]


def unlabelled(numbers: dict[str, Any]) -> list[str]:
    """Return what was found in images without a reference."""
    lines = []
    for found in numbers.get("unlabelled", []):
        lines += [
            f"### {found['name']}: {cases_of(found, 'image')}",
            "",
            found["note"].strip(),
            "",
        ]
        for size, one in found["sizes"].items():
            said = [f"{one['refused']} refused for their volumes"]
            if "like_teacher" in one:
                said.append(f"Dice with the teacher {interval(one['like_teacher'])}")
            if "masked" in one:
                most = list(one["masked"].items())[:MOST_SHARES]
                shares = ", ".join(f"{name} {100 * share:.0f} %" for name, share in most)
                said.append(f"in the marked lesions: {shares}")
            lines.append(f"* {size}: {'; '.join(said)}.")
        lines += ["", *_contrasts(found["sizes"])]
    return ["## Images without a reference", "", *lines] if lines else []


def _contrasts(sizes: dict[str, Any]) -> list[str]:
    """Return, by structure, how the volumes of two contrasts of the same people differ."""
    names = [size for size, one in sizes.items() if "against" in one]
    if not names:
        return []
    lines = [
        "Volume here against the other contrast of the same person: median difference, and the "
        "correlation over people:",
        "",
        row(["structure", *names]),
        "|" + "---|" * (len(names) + 1),
    ]
    for label in sizes[names[0]]["against"]:
        cells = [_contrast(sizes[size]["against"][label]) for size in names]
        lines.append(row([label, *cells]))
    return [*lines, ""]


def _contrast(found: dict[str, float | None]) -> str:
    percent, correlation = found["percent"], found["correlation"]
    said = "not found" if percent is None else f"{percent:+.0f} %"
    return said if correlation is None else f"{said}, r {correlation:.2f}"


def against_teacher(
    manifest: Manifest, numbers: dict[str, Any], plot: str = "plots/differences.svg"
) -> list[str]:
    """Return the students' paired differences to the teacher, and what the margins say of them."""
    students = {k: v for k, v in numbers["sizes"].items() if k != TEACHER}
    if TEACHER not in numbers["sizes"] or not students:
        return []
    gates = manifest.provenance.training.get("recipe", {}).get("gates", {})
    margins = [gates.get(f"margin_{name}") for name in MEASURES]
    lines = [
        "Student minus teacher, paired by case. *Not inferior*: with 95 % it loses no more than "
        f"the recipe's margins, {margins[0]} in Dice, {margins[1]} in surface Dice, "
        f"{margins[2]} mm:",
        "",
        "| size | Dice | surface Dice | HD95 mm | not inferior in |",
        "|---|---|---|---|---|",
    ]
    is_told = has_intervals(numbers)
    for size, found in students.items():
        gaps = [found[f"{name}_difference"] for name in MEASURES]
        cells = [
            size,
            *(signed(gap) for gap in gaps),
            _verdict(gaps, margins) if is_told else TOO_FEW,
        ]
        lines.append(row(cells))
    return [*lines, "", f"![Differences by case]({plot})", ""]


def twins(numbers: dict[str, Any]) -> list[str]:
    """Return what distillation is worth: each distilled run beside its undistilled twin."""
    if not numbers["twins"]:
        return []
    lines = [
        "What distillation is worth: each run beside its twin of the same size, seed, steps, cases "
        "and other choices that saw labels alone. Where channels are inherited, the difference is "
        "of distillation and inheritance together. The same steps are not the same time: minutes "
        "are distilled / undistilled. Differences are distilled minus undistilled, paired by case:",
        "",
        "| run | size | learns from | seed | steps | minutes | distilled | undistilled "
        "| retention of both | Dice | surface Dice | HD95 mm |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    runs = numbers["sizes"] | numbers["compared"]
    for twin in numbers["twins"]:
        mine, other = runs[twin["distilled"]], runs[twin["undistilled"]]
        told = mine["training"]
        kept = [f"{100 * r['retention']['mean']:.2f} %" for r in (mine, other) if "retention" in r]
        cells = [twin["distilled"], twin["size"], _lesson(told, numbers)]
        minutes = [f"{run['training']['seconds'] / 60:.1f}" for run in (mine, other)]
        cells += [str(told["seed"]), str(told["steps"]), " / ".join(minutes)]
        cells += [interval(mine["dice"]), interval(other["dice"]), " and ".join(kept)]
        cells += [signed(twin[name]) for name in MEASURES]
        lines.append(row(cells))
    return [*lines, ""]


def compared(numbers: dict[str, Any]) -> list[str]:
    """Return the table of runs that are not released: undistilled twins, seeds, ablations."""
    if not numbers["compared"]:
        return []
    lines = [
        "All runs that are not released, on the same cases; the last column is the released "
        "network's mean Dice minus this one's, paired by case:",
        "",
        "| run | size | learns from | seed | steps | mean Dice | surface Dice | HD95 mm "
        "| retention | released - this |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, found in numbers["compared"].items():
        told = found["training"]
        cells = [name, found["size"], _lesson(told, numbers), str(told["seed"])]
        cells += [
            str(told["steps"]),
            *(interval(found[key]) for key in ("dice", "nsd", "hd95_mm")),
        ]
        cells += [interval(found["retention"]) if "retention" in found else ""]
        lines.append(row([*cells, signed(found["released_minus_this"])]))
    return [*lines, ""]


def volumes(manifest: Manifest, numbers: dict[str, Any]) -> list[str]:
    """Return volumes found minus true, in ml: mean and 95 % limits of agreement (Bland-Altman)."""
    labels = [s.label for s in manifest.segments]
    if len(labels) > MOST_COLUMNS:
        return _long_volumes(numbers, labels)
    lines = [
        "Volumes, found minus true, in ml: bias and 95 % limits of agreement (Bland-Altman):",
        "",
        "| size | " + " | ".join(labels) + " |",
        "|" + "---|" * (len(labels) + 1),
    ]
    for size, found in numbers["sizes"].items():
        agreed = [found["volume_ml"][label] for label in labels]
        cells = [_agreement(v) for v in agreed]
        lines.append(row([size, *cells]))
    return [*lines, ""]


def _long_volumes(numbers: dict[str, Any], labels: Sequence[str]) -> list[str]:
    names = list(numbers["sizes"])
    lines = [
        "Volumes, found minus true, in ml: bias and 95 % limits of agreement (Bland-Altman):",
        "",
        row(["structure", *names]),
        "|" + "---|" * (len(names) + 1),
    ]
    for label in labels:
        agreed = [numbers["sizes"][size]["volume_ml"][label] for size in names]
        lines.append(row([label, *(_agreement(v) for v in agreed)]))
    return [*lines, ""]


def _agreement(v: dict[str, Any]) -> str:
    return f"{v['bias']:+.3f} ({v['low']:+.3f} to {v['high']:+.3f})"


def _verdict(gaps: list[dict[str, Any]], margins: list[float | None]) -> str:
    """Name the measures in which the worse end of the interval is within the margin."""
    worst = (-gaps[0]["ci"][0], -gaps[1]["ci"][0], gaps[2]["ci"][1])
    names = ("Dice", "surface Dice", "HD95")
    held = [
        name
        for name, loss, margin in zip(names, worst, margins, strict=True)
        if margin is not None and loss <= margin
    ]
    return ", ".join(held) or "none"


def _lesson(told: dict[str, Any], numbers: dict[str, Any]) -> str:
    """Say in a few words what a run was taught by."""
    terms = told["terms"]
    if terms is None:
        return "labels"
    names = ["labels"] if terms["labels"] == 1 else [f"labels × {terms['labels']:g}"]
    names += ["KL"] if terms["kl"] else []
    names += ["boundary"] if terms["kl"] and terms["boundary"] else []
    names += ["soft Dice"] if terms["dice"] else []
    names += ["channel-wise"] if terms["channel_wise"] else []
    names += ["inherited channels"] if told.get("inherits") else []
    runs = [*numbers["sizes"].values(), *numbers["compared"].values()]
    usual = next(run["training"]["teacher"] for run in runs if run["training"]["distilled"])
    of = "" if told["teacher"] == usual else "; other soft targets"
    return " + ".join(names) + of
