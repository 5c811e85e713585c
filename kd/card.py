"""The model card and licence of a package, written from its manifest and its measured numbers."""

from typing import Any

from node.package import Manifest
from node.package.manifest import Range

LICENCE_URLS = {
    "CC-BY-SA-4.0": "https://creativecommons.org/licenses/by-sa/4.0/legalcode",
    "Apache-2.0": "https://www.apache.org/licenses/LICENSE-2.0",
    "MIT": "https://opensource.org/license/mit",
}


def text(manifest: Manifest, numbers: dict[str, Any], command: str) -> str:
    """Return the card in Markdown; `numbers` has the shape of report.json."""
    accepted, grid = manifest.input, manifest.grid
    return "\n".join(
        [
            f"# {manifest.title} ({manifest.task} {manifest.version})",
            "",
            manifest.intended_use.strip(),
            "",
            "**Not a medical device. Not for diagnosis.**",
            "",
            "## What it takes and gives",
            "",
            f"* Modality {accepted.modality}; voxel spacing {_range(accepted.spacing_mm)} mm; "
            f"field of view {_range(accepted.field_of_view_mm)} mm along every axis; at least "
            f"{accepted.slices.low:g} slices. Everything else is refused in words.",
            f"* Works at {_times(grid.spacing_mm_zyx)} mm in patches of {_times(grid.patch_zyx)}.",
            "* Segments: "
            + "; ".join(
                f"{s.number} {s.label} ({s.type.scheme} {s.type.value} {s.type.meaning}"
                + (f", {s.modifier.value} {s.modifier.meaning})" if s.modifier else ")")
                for s in manifest.segments
            )
            + ".",
            "",
            "## Measured",
            "",
            f"On {numbers['cases']} held-out cases of the same source, through the node's own "
            "pipeline; means with 95 % bootstrap intervals over cases; surface Dice at "
            f"{numbers['tolerance_mm']:g} mm and HD95 by MONAI. Seconds and memory: one "
            "golden case, one thread, on the machine that made the release.",
            "",
            *_table(manifest, numbers),
            "",
            *_against_teacher(manifest, numbers),
            *_compared(numbers),
            *_volumes(manifest, numbers),
            "![Accuracy against latency](plots/accuracy.svg)",
            "",
            "Single cases are in `cases.csv`; all numbers are in `report.json`. Made by:",
            "",
            f"    {command}",
            "",
            "## Training",
            "",
            f"Data: {'; '.join(manifest.provenance.data_sets)}. Licence of data and weights: "
            f"{manifest.provenance.licence}.",
            _taught(numbers),
            "Test cases are read by `kd validate` and `kd release` only. The recipe is in the "
            "manifest; RECIPE in it, DATA and RUNS below are its file, the data set and a folder.",
            "",
            *_runs(numbers),
            "## Limits",
            "",
            "* One source and one kind of image were seen; other scanners, contrasts and patients "
            "were not measured.",
            *(f"* {limit}" for limit in manifest.provenance.training["recipe"]["limits"]),
            "",
        ]
    )


def evaluation(manifest: Manifest, report: dict[str, Any], pictures: dict[str, list[str]]) -> str:
    """Return the page of one validation, on whatever cases it was done.

    Args:
        manifest: of the package.
        report: in the shape of report.json.
        pictures: file names by what they show, in the order in which they are read.
    """
    lines = [
        f"# {manifest.title} ({manifest.task} {manifest.version}): {report['cases']} cases",
        "",
        "Through the node's own pipeline; means with 95 % bootstrap intervals over cases; surface "
        f"Dice at {report['tolerance_mm']:g} mm and HD95 by MONAI. Seconds and memory: the golden "
        "case, on the machine that made this page. Single cases are in `cases.csv`, all numbers in "
        "`report.json`. The pictures show patients: keep them where patients are kept.",
        "",
        *_table(manifest, report),
        "",
        *_against_teacher(manifest, report, plot="differences.svg"),
        *_volumes(manifest, report),
    ]
    for title, names in pictures.items():
        lines += [f"## {title}", "", *(f"![{name}]({name})" for name in names), ""]
    return "\n".join(lines)


def licence(manifest: Manifest) -> str:
    """Return the licence notice of the weights."""
    name = manifest.provenance.licence
    return (
        f"The weights and this package are licensed under {name}\n"
        f"{LICENCE_URLS.get(name, '')}\n\n"
        "They were derived from:\n"
        + "".join(f"  {source}\n" for source in manifest.provenance.data_sets)
        + "\nChanges: networks were trained on the images and labels; no image of it is included.\n"
        "The golden case has its own licence, in the file beside it.\n"
    )


def _taught(numbers: dict[str, Any]) -> str:
    distilled = [size for size, found in numbers["sizes"].items() if found["training"]["distilled"]]
    if not distilled:
        return "All sizes were trained on reference labels alone; **none of them is distilled**."
    return f"Distilled from the teacher: {', '.join(distilled)}; the others saw labels alone."


def _against_teacher(
    manifest: Manifest, numbers: dict[str, Any], plot: str = "plots/differences.svg"
) -> list[str]:
    """Return the students' paired differences to the teacher, and what the margin says of them."""
    students = {k: v for k, v in numbers["sizes"].items() if "dice_difference" in v}
    if not students:
        return []
    margin = manifest.provenance.training["recipe"]["gates"]["margin_dice"]
    lines = [
        "Student minus teacher, paired by case. A student is non-inferior if the lower bound of "
        f"its Dice difference is above the recipe's margin of -{margin:g}:",
        "",
        "| size | Dice | surface Dice | HD95 mm | non-inferior in Dice |",
        "|---|---|---|---|---|",
    ]
    for size, found in students.items():
        keys = ("dice_difference", "nsd_difference", "hd95_mm_difference")
        verdict = "yes" if found["dice_difference"]["ci"][0] > -margin else "no"
        cells = [size, *(_interval(found[key]) for key in keys), verdict]
        lines.append(f"| {' | '.join(cells)} |")
    return [*lines, "", f"![Differences by case]({plot})", ""]


def _compared(numbers: dict[str, Any]) -> list[str]:
    """Return the table of runs that are not released: undistilled twins, seeds, ablations."""
    if not numbers["compared"]:
        return []
    lines = [
        "Runs that are not released, on the same cases; the last column is the released network's "
        "mean Dice minus this one's, paired by case:",
        "",
        "| run | size | learns from | seed | steps | mean Dice | HD95 mm | released - this |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, found in numbers["compared"].items():
        told = found["training"]
        cells = [name, found["size"], _lesson(told), str(told["seed"]), str(told["steps"])]
        cells += [_interval(found[key]) for key in ("dice", "hd95_mm", "released_minus_this")]
        lines.append(f"| {' | '.join(cells)} |")
    return [*lines, ""]


def _lesson(told: dict[str, Any]) -> str:
    """Say in a few words what a run was taught by."""
    terms = told["terms"]
    if terms is None:
        return "labels"
    names = ["KL"] if terms["kl"] else []
    names += ["soft Dice"] if terms["dice"] else []
    names += ["channel-wise"] if terms["channel_wise"] else []
    names += ["boundary"] if terms["kl"] and terms["boundary"] else []
    return " + ".join(["labels", *names])


def _volumes(manifest: Manifest, numbers: dict[str, Any]) -> list[str]:
    """Return volumes found minus true, in ml: mean and 95 % limits of agreement (Bland-Altman)."""
    labels = [s.label for s in manifest.segments]
    lines = [
        "Volumes, found minus true, in ml: bias and 95 % limits of agreement (Bland-Altman):",
        "",
        "| size | " + " | ".join(labels) + " |",
        "|" + "---|" * (len(labels) + 1),
    ]
    for size, found in numbers["sizes"].items():
        agreed = [found["volume_ml"][label] for label in labels]
        cells = [f"{v['bias']:+.3f} ({v['low']:+.3f} to {v['high']:+.3f})" for v in agreed]
        lines.append(f"| {' | '.join([size, *cells])} |")
    return [*lines, ""]


def _table(manifest: Manifest, numbers: dict[str, Any]) -> list[str]:
    labels = [s.label for s in manifest.segments]
    head = ["size", "parameters", "GMAC per patch", "mean Dice", *labels]
    head += ["surface Dice", "HD95 mm", "retention", "seconds", "peak MB"]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for size, found in numbers["sizes"].items():
        dice = found["dice"]
        cells = [
            size,
            f"{found['parameters']:,}",
            f"{found['macs_per_patch'] / 1e9:.2f}",
            _interval(dice),
            *(_interval(dice["per_structure"][label]) for label in labels),
            _interval(found["nsd"]),
            _interval(found["hd95_mm"]),
            _interval(found["retention"]) if "retention" in found else "",
            f"{found['seconds']:.2f}",
            f"{found['peak_mb']:.0f}",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def _runs(numbers: dict[str, Any]) -> list[str]:
    """Return every command, in the order in which a person would type them."""
    lines = []
    for folder, command in numbers["soft_targets"].items():
        lines += [f"* soft targets in RUNS/{folder}:", "", f"      {command}", ""]
    runs = numbers["sizes"] | numbers["compared"]
    for name, found in runs.items():
        told = found["training"]
        if told["seed"] is None:
            lines += [f"* {name}: imported, not trained here.", ""]
            continue
        minutes = f"{told['seconds'] / 60:.1f} minutes"
        lines += [f"* {name}: {told['steps']} steps in {minutes}, seed {told['seed']}:", ""]
        lines += [f"      {told['command']}", ""]
    return lines


def _interval(found: dict[str, Any]) -> str:
    low, high = found["ci"]
    return f"{found['mean']:.4f} ({low:.4f} to {high:.4f})"


def _range(limits: Range) -> str:
    return f"{limits.low:g} to {limits.high:g}"


def _times(values: tuple[float, ...]) -> str:
    return " × ".join(f"{v:g}" for v in values)
