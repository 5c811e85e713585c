"""The model card of a package: one screen for a reader who decides whether to use it.

Everything else is in `validation.md`, which `kd.release.validation_page` writes.
"""

import textwrap
from collections import defaultdict
from collections.abc import Mapping, Sequence

from kd.recipe.read import TEACHER, Recipe
from kd.records import Accuracy, ExternalReport, Report
from kd.release.cells import cases_of, count, head, percent, percent_bias, row
from node.package import Manifest
from node.package.manifest import Range, SizeName
from node.volumes import LEFT, RIGHT

COLUMNS = 100  # a Markdown line is wrapped at
LARGE_BIAS = 10.0  # percent of a volume; smaller ones are in validation.md
MOST_NAMED = 12  # structures; more are in validation.md
PICTURE = "plots/reference.png"
LICENCE_URLS = {
    "CC-BY-SA-4.0": "https://creativecommons.org/licenses/by-sa/4.0/legalcode",
    "Apache-2.0": "https://www.apache.org/licenses/LICENSE-2.0",
    "MIT": "https://opensource.org/license/mit",
}


def card(manifest: Manifest, recipe: Recipe, report: Report) -> str:
    """Return the card in Markdown, about 60 lines at most."""
    lines = [
        f"# {manifest.title} ({manifest.task} {manifest.version})",
        "",
        "**Not a medical device.**",
        *_wrapped(manifest.intended_use),
        "",
        f"![Reference image with labels]({PICTURE})",
        "",
        *_wrapped(
            "The labels of size " + _pictured(manifest) + " on the package's reference image."
        ),
        "",
        "## Input and output",
        "",
        *_item(_accepted(manifest)),
        *_item(_structures(manifest)),
        *_item(_data(manifest, report)),
        "",
        "## Limits",
        "",
        *(line for limit in _limits(recipe, report) for line in _item(limit)),
        "",
        "## Accuracy",
        "",
        *_accuracy(recipe, report),
        *_wrapped(
            "Every structure, interval, volume, comparison and command is in "
            "[validation.md](validation.md)."
        ),
        "",
    ]
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
        "The reference image has a separate licence, in the file beside it.\n"
    )


def held_out(recipe: Recipe, report: Report) -> str:
    """Return a phrase that says on which cases the test numbers were measured."""
    if recipe.generator is not None:
        maps = count(report.subjects, "held-out label map")
        return f"{count(report.cases, 'synthetic image')} from {maps}"
    return f"{cases_of(report, 'held-out case')} of the training data's source"


def _accuracy(recipe: Recipe, report: Report) -> list[str]:
    """Return the one table: external, real images first, then the held-out cases."""
    leading = max(report.external, key=lambda one: one.subjects, default=None)
    columns = ["size", "parameters"]
    if leading is None:
        text = f"Measured on {held_out(recipe, report)}. **No external validation was done.**"
        columns += ["mean Dice", "HD95 mm", "share of the teacher's Dice"]
    else:
        text = _leading(leading, held_out(recipe, report), len(report.external))
        columns += ["mean Dice, external", "HD95 mm", "share of the teacher's Dice"]
        columns += ["mean Dice, held-out synthetic" if recipe.generator else "mean Dice, held out"]
    lines = [*_wrapped(text), "", *head([*columns, "seconds", "peak MB"])]
    accuracies: Mapping[SizeName, Accuracy] = report.sizes if leading is None else leading.sizes
    for size, accuracy in accuracies.items():
        mine = report.sizes[size]
        retention = None if accuracy.against_teacher is None else accuracy.against_teacher.retention
        cells = [size, _millions(mine.parameters), accuracy.dice.words(".3f")]
        cells += [accuracy.hd95_mm.words(".1f"), "" if size == TEACHER else percent(retention)]
        if leading is not None:
            cells.append(mine.dice.words(".3f"))
        cost = mine.cost
        cells += ["", ""] if cost is None else [f"{cost.seconds:.2g}", f"{cost.peak_mb:.0f}"]
        lines.append(row(cells))
    bias = "" if leading is None else _volume_bias(leading)
    return [*lines, "", *_wrapped(_footnote()), "", *([*_wrapped(bias), ""] if bias else [])]


def _volume_bias(leading: ExternalReport) -> str:
    """Return a sentence with the biases of volumes that matter; empty if none was measured."""
    biases: dict[str, list[float]] = defaultdict(list)
    for label in leading.structures:
        volumes = [one.volume_ml.get(label) for one in leading.sizes.values()]
        percents = [one.percent for one in volumes if one is not None and one.percent is not None]
        if percents:
            biases[label.removeprefix(LEFT).removeprefix(RIGHT)] += percents
    if not biases:
        return ""
    large = {name: values for name, values in biases.items() if _is_large(values)}
    listed = ", ".join(f"{name} {_ends(values)}" for name, values in large.items())
    return (
        f"Bias of the volumes on {leading.name}, over all sizes and both sides: within "
        f"{LARGE_BIAS:g} % of the reference volume"
        + (f", except {listed}." if listed else " for every structure.")
    )


def _is_large(percents: Sequence[float]) -> bool:
    return max(abs(value) for value in percents) > LARGE_BIAS


def _ends(values: Sequence[float]) -> str:
    """Return the smallest and the largest of some biases; one where they round to the same."""
    low, high = percent_bias(min(values)), percent_bias(max(values))
    return low if low == high else f"{low.removesuffix(' %')} to {high}"


def _leading(leading: ExternalReport, test: str, sets: int) -> str:
    others = f" {count(sets - 1, 'further external set')} in validation.md." if sets > 1 else ""
    return (
        f"External validation on real images: {leading.name}, {cases_of(leading)}, "
        f"{count(len(leading.structures), 'structure')}. {leading.note.strip()} "
        f'The column "held out" is measured on {test}.{others}'
    )


def _footnote() -> str:
    return (
        "Through the production pipeline, with 95 % intervals where there are enough subjects. "
        "Seconds and memory: the reference image, one thread, on the machine that made the release."
    )


def _limits(recipe: Recipe, report: Report) -> list[str]:
    limits = list(recipe.limits)
    if not report.external:
        limits.append("Other scanners, protocols and populations than the source's: not measured.")
    gates = recipe.gates
    if not (gates.dice or gates.retention or gates.non_inferior or gates.external):
        limits.append("Released without gates: the recipe required no least accuracy.")
    return limits


def _accepted(manifest: Manifest) -> str:
    accepted, grid = manifest.input, manifest.grid
    ages = accepted.age_years
    patients = f" Patients of {_range(ages)} years." if ages else ""
    return (
        f"{accepted.modality} series with voxels of {_range(accepted.spacing_mm)} mm, a field of "
        f"view of {_range(accepted.field_of_view_mm)} mm along every axis and at least "
        f"{accepted.slices.low:g} slices. The node refuses other series and states the reason."
        f"{patients} The network works at {_times(grid.spacing_mm_zyx)} mm."
    )


def _structures(manifest: Manifest) -> str:
    labels = [segment.label for segment in manifest.segments]
    if len(labels) <= MOST_NAMED:
        return f"{count(len(labels), 'structure')}: {', '.join(labels)}."
    named = ", ".join(labels[:MOST_NAMED])
    more = f"and {len(labels) - MOST_NAMED} more, listed in validation.md"
    return f"{count(len(labels), 'structure')}: {named}, {more}."


def _data(manifest: Manifest, report: Report) -> str:
    sources = "; ".join(manifest.provenance.data_sets)
    distilled = [
        size
        for size, one in report.sizes.items()
        if size != TEACHER and one.training is not None and one.training.distilled
    ]
    how = f"Distilled sizes: {', '.join(distilled)}." if distilled else "No size is distilled."
    return f"Trained on {sources}. {how} Licence: {manifest.provenance.licence}."


def _pictured(manifest: Manifest) -> str:
    return next(iter(manifest.sizes))


def _millions(parameters: int) -> str:
    return f"{parameters / 1e6:.2g} M"


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(" ".join(text.split()), COLUMNS, break_long_words=False)


def _item(text: str) -> list[str]:
    return textwrap.wrap(
        " ".join(text.split()),
        COLUMNS,
        initial_indent="* ",
        subsequent_indent="  ",
        break_long_words=False,
    )


def _range(limits: Range) -> str:
    return f"{limits.low:g} to {limits.high:g}"


def _times(values: tuple[float, ...]) -> str:
    return " × ".join(f"{value:g}" for value in values)
