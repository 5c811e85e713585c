"""External data sets: labelled cases of another source than the training data."""

from dataclasses import dataclass, replace
from pathlib import Path

from kd.data.cases import Pair, read_files
from kd.data.ids import Ids, read_ids
from kd.errors import BadCase
from kd.recipe.read import Recipe
from kd.recipe.sources import External, Unlabelled
from node.package.manifest import Manifest, restrict


@dataclass(frozen=True, eq=False)
class ExternalSet:
    """The cases of one external data set, and the table that translates its labels."""

    source: External
    pairs: tuple[Pair, ...]
    ids: Ids | None

    def restricted(self, manifest: Manifest) -> Manifest:
        """Return the manifest with only those segments that the reference has."""
        return manifest if self.ids is None else restrict(manifest, self.ids.scored)


def read_external(recipe: Recipe, folder: Path, beside: Path) -> list[ExternalSet]:
    """Read every external data set of the recipe.

    Args:
        recipe: lists them under `external`.
        folder: holds their folders.
        beside: folder of the recipe, with its tables of ids.

    Raises:
        BadCase: a data set has no image, or a case that cannot be used.
    """
    return [_read(recipe, one, folder, beside) for one in recipe.external]


def _read(recipe: Recipe, one: External, folder: Path, beside: Path) -> ExternalSet:
    numbers = tuple(part.number for part in recipe.segments)
    ids = None if one.ids is None else read_ids(beside / one.ids, numbers)
    pairs = []
    for name, path in images_of(one, folder).items():
        label = folder / one.labels / f"{name}{one.label_ending}"
        pair = read_files(name, path, label, recipe.n_classes, ids)
        pairs.append(replace(pair, subject=one.subjects.get(name, name)))
    return ExternalSet(one, tuple(pairs), ids)


def images_of(source: External | Unlabelled, folder: Path) -> dict[str, Path]:
    """Return the images of a data set by case name; `folder` holds its folders.

    Raises:
        BadCase: it has no image.
    """
    ending = source.image_ending
    paths = sorted((folder / source.images).glob(f"*{ending}"))
    if not paths:
        message = f"{source.name}: {source.images} has no image that ends in {ending}"
        raise BadCase(message)
    return {path.name.removesuffix(ending): path for path in paths}
