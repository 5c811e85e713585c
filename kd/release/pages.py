"""The files of a package that people read: card.md, validation.md, LICENSE and their pictures.

All are made from the package folder alone, so that `kd card` can write them again.
"""

from pathlib import Path

import msgspec

from kd.errors import BadRecipe
from kd.recipe.read import Recipe
from kd.records import Report, read_report
from kd.release import plots
from kd.release.card import PICTURE, card, licence
from kd.release.validation_page import release_page
from node.imaging.intensity import Clip
from node.imaging.nifti import read_labels, read_volume
from node.package import Manifest, Package, load, write_manifest

REPORT = "report.json"


def packaged_recipe(manifest: Manifest) -> Recipe:
    """Return the recipe that a package was made from.

    Raises:
        BadRecipe: the manifest has none that this version reads.
    """
    try:
        # JSON has made the ids of a generator's labels strings
        raw = manifest.provenance.training["recipe"]
        return msgspec.convert(raw, Recipe, str_keys=True)
    except (KeyError, msgspec.ValidationError) as exc:
        message = f"the recipe in package {manifest.task}/{manifest.version} cannot be read: {exc}"
        raise BadRecipe(message, advice="To validate it, give --images and --labels") from exc


def write_pages(manifest: Manifest, report: Report, folder: Path) -> None:
    """Write card.md, validation.md, LICENSE and their pictures into the folder of a package."""
    recipe = packaged_recipe(manifest)
    command = str(manifest.provenance.training.get("command", "not recorded"))
    texts = {
        "card.md": card(manifest, recipe, report),
        "validation.md": release_page(manifest, recipe, report, command),
        "LICENSE": licence(manifest),
        "plots/accuracy.svg": plots.accuracy_against_latency(report),
    }
    (folder / "plots").mkdir(exist_ok=True)
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    image = read_volume(folder / manifest.reference.image)
    labels = read_labels(folder / next(iter(manifest.reference.labels.values())))
    plots.reference(image, labels, manifest.segments, _window(recipe), folder / PICTURE)


def _window(recipe: Recipe) -> tuple[float, float] | None:
    """Return the intensities that the network distinguishes, where the recipe clips them."""
    clips = [step for step in recipe.intensity if isinstance(step, Clip)]
    return (clips[0].low, clips[0].high) if clips else None


def rewrite_pages(folder: Path) -> Package:
    """Write the pages of a finished package again, and its manifest with their new digests.

    Raises:
        BadPackage: the package is altered or damaged.
        BadRecipe: its recipe cannot be read.
        BadRecord: its report cannot be read.
    """
    package = load(folder)
    write_pages(package.manifest, read_report(folder / REPORT), folder)
    return write_manifest(package.manifest, folder)
