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
            "Nothing was chosen on the test cases. The recipe is in the manifest.",
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


def _against_teacher(manifest: Manifest, numbers: dict[str, Any]) -> list[str]:
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
    return [*lines, "", "![Differences by case](plots/differences.svg)", ""]


def _compared(numbers: dict[str, Any]) -> list[str]:
    """Return the table of runs that are not released: undistilled twins, seeds, ablations."""
    if not numbers["compared"]:
        return []
    lines = [
        "Runs that are not released, on the same cases; the last column is the released network's "
        "mean Dice minus this one's, paired:",
        "",
        "| run | size | steps | mean Dice | released - this |",
        "|---|---|---|---|---|",
    ]
    for name, found in numbers["compared"].items():
        cells = [name, found["size"], str(found["training"]["steps"]), _interval(found["dice"])]
        lines.append(f"| {' | '.join(cells)} | {_interval(found['released_minus_this'])} |")
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
    lines = []
    for size, found in numbers["sizes"].items():
        told = found["training"]
        if told["seed"] is None:
            lines += [f"* {size}: imported, not trained here.", ""]
            continue
        minutes = f"{told['seconds'] / 60:.1f} minutes"
        lines += [f"* {size}: {told['steps']} steps in {minutes}, seed {told['seed']}:", ""]
        lines += [f"      {_training_command(size, told)}", ""]
    return lines


def _training_command(size: str, told: dict[str, Any]) -> str:
    verb = "distill" if told["distilled"] else "train"
    budget = next(f"--{unit} {n:g}" for unit, n in told["budget"].items() if n is not None)
    runs = "--runs RUNS " if told["distilled"] else ""
    where = f"--data DATA {runs}--size {size} --run RUNS/{size}"
    return f"kd {verb} RECIPE {where} {budget} --seed {told['seed']}"


def _interval(found: dict[str, Any]) -> str:
    low, high = found["ci"]
    return f"{found['mean']:.4f} ({low:.4f} to {high:.4f})"


def _range(limits: Range) -> str:
    return f"{limits.low:g} to {limits.high:g}"


def _times(values: tuple[float, ...]) -> str:
    return " × ".join(f"{v:g}" for v in values)
