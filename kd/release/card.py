"""The model card and licence of a package, written from its manifest and its measured numbers."""

from typing import Any

from kd.recipe.read import TEACHER
from kd.release import cells, tables
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
            f"On {_held_out(manifest, numbers)}, through the node's own pipeline; "
            f"{cells.means(numbers)}; surface Dice at "
            f"{numbers['tolerance_mm']:g} mm and HD95 by MONAI. Seconds and memory: one "
            "reference case, one thread, on the machine that made the release.",
            "",
            *tables.sizes(manifest, numbers),
            *tables.structures(numbers, [s.label for s in manifest.segments]),
            "",
            *tables.against_teacher(manifest, numbers),
            *tables.twins(numbers),
            *tables.compared(numbers),
            *tables.volumes(manifest, numbers),
            "![Accuracy against latency](plots/accuracy.svg)",
            "",
            "Single cases are in `cases.csv`; all numbers are in `report.json`. Made by:",
            "",
            f"    {command}",
            "",
            *tables.elsewhere(numbers),
            *tables.unlabelled(numbers),
            "## Training",
            "",
            f"Data: {'; '.join(manifest.provenance.data_sets)}. Licence of data and weights: "
            f"{manifest.provenance.licence}.",
            taught(numbers),
            *inherited(numbers),
            "Test cases are read by `kd validate` and `kd release` only. The recipe is in the "
            "manifest. Below, DATA is the data set and RUNS a folder of your choice.",
            "",
            *_runs(numbers),
            "## Limits",
            "",
            *_one_source(manifest, numbers),
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
        f"# {manifest.title} ({manifest.task} {manifest.version}): {cells.cases_of(report)}",
        "",
        f"Through the node's own pipeline; {cells.means(report)}; surface "
        f"Dice at {report['tolerance_mm']:g} mm and HD95 by MONAI. Seconds and memory: the "
        "reference case, on the machine that made this page. Single cases are in `cases.csv`, all "
        "numbers in `report.json`. The pictures show patients: keep them where patients are kept.",
        "",
        *tables.sizes(manifest, report),
        *tables.structures(report, [s.label for s in manifest.segments]),
        "",
        *tables.against_teacher(manifest, report, plot="differences.svg"),
        *tables.volumes(manifest, report),
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
        "The reference case has its own licence, in the file beside it.\n"
    )


def _held_out(manifest: Manifest, numbers: dict[str, Any]) -> str:
    if manifest.provenance.training["recipe"].get("generator") is not None:
        maps = cells.count(numbers["subjects"], "held-out label map")
        return f"{cells.count(numbers['cases'], 'image')} drawn from {maps}"
    return f"{cells.cases_of(numbers, 'held-out case')} of the same source"


def _one_source(manifest: Manifest, numbers: dict[str, Any]) -> list[str]:
    drawn = manifest.provenance.training["recipe"].get("generator") is not None
    if drawn or numbers.get("elsewhere"):
        return []  # what was measured elsewhere stands above
    return [
        "* One source and one kind of image were seen; other scanners, contrasts and patients "
        "were not measured."
    ]


def taught(numbers: dict[str, Any]) -> str:
    """Say which sizes are distilled, and whether their teacher had seen the cases."""
    distilled = [size for size, found in numbers["sizes"].items() if found["training"]["distilled"]]
    if not distilled:
        return "All sizes were trained on reference labels alone; **none of them is distilled**."
    folds, size = numbers["ensemble"]["folds"], numbers["ensemble"]["size"]
    if not folds:
        return f"Distilled: {', '.join(distilled)}."
    if len(folds) == 1:
        told = f"{folds[0]['steps']} steps in {folds[0]['seconds'] / 60:.0f} minutes"
        return (
            f"Distilled: {', '.join(distilled)}. Their teacher is one network of size {size} "
            f"({told}) that has seen every training case."
        )
    steps = ", ".join(sorted({str(fold["steps"]) for fold in folds}))
    minutes = sum(fold["seconds"] for fold in folds) / 60
    released = "; the package's teacher is that ensemble" if TEACHER not in distilled else ""
    return (
        f"Distilled: {', '.join(distilled)}. Their teacher is an ensemble of {len(folds)} networks "
        f"of size {size} ({steps} steps each, {minutes:.0f} minutes together), each trained "
        "without one fold of the training cases; the map of a case is by the one that has not "
        f"seen it{released}."
    )


def inherited(numbers: dict[str, Any]) -> list[str]:
    """Say which sizes begin with weights of their teacher."""
    sizes = numbers["sizes"].items()
    names = [size for size, found in sizes if found["training"].get("inherits")]
    if not names:
        return []
    return [
        f"Not noise but the teacher's strongest channels, as many as they have room for, are where "
        f"these begin: {', '.join(names)}. Undistilled twins begin with drawn weights."
    ]


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
        spent = f"{told['steps']} steps in {told['seconds'] / 60:.1f} minutes"
        if "networks" in told:
            spent = f"{told['networks']} networks, together {spent}"
        lines += [f"* {name}: {spent}, {_seeds(told)}:", ""]
        lines += [f"      {told['command']}", ""]
    return lines


def _seeds(told: dict[str, Any]) -> str:
    """Return the seed, or what each of several runs in a row spent."""
    if len(told["runs"]) == 1:
        return f"seed {told['seed']}"
    parts = []
    for run in told["runs"]:
        budget = f"{run['minutes']:g} minutes" if run["steps"] is None else f"{run['steps']} steps"
        parts.append(
            f"{budget} {'distilled' if run['distilled'] else 'of labels'}, seed {run['seed']}"
        )
    return f"{'; then '.join(parts)}; the last of these"


def _range(limits: Range) -> str:
    return f"{limits.low:g} to {limits.high:g}"


def _times(values: tuple[float, ...]) -> str:
    return " × ".join(f"{v:g}" for v in values)
