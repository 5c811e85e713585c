"""Labelled cases on the model's grid, read and prepared by the node's own code.

Promises: training images go through the same orientation, intensity and resampling steps as the
images of a hospital's node. Leaves to `kd.data.batches`: patches and devices.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from kd.data.ids import LEFT_OUT, Ids, read_external_labels
from kd.data.labelmaps import LabelMap, read_label_map
from kd.data.splits import subjects_of
from kd.data.synthesis import synthesise_scan
from kd.errors import BadCase
from kd.recipe.read import Recipe
from kd.recipe.sources import Data
from node.errors import NodeError
from node.imaging import Labels, Volume, intensity
from node.imaging.nifti import read_labels, read_volume
from node.imaging.orient import orient, turned_grid
from node.imaging.resample import along, axis_matrix, regrid, resample

ENDINGS = (".nii", ".nii.gz")
CHANNEL = "_0000"  # nnU-Net's suffix of the first channel
NEGATIVES = "Label it, or set data.negatives: true if such cases show none of the structures"
SYNTHETIC_IMAGES = 8  # of each held-out label map: one image alone would be chance


@dataclass(frozen=True, eq=False)
class Pair:
    """An image and its reference labels as they are on disk, on one grid."""

    name: str
    image: Volume
    labels: Labels
    unknown: tuple[int, ...] = ()  # segments that are not labelled here: unknown, not absent
    subject: str = ""  # empty: no other case shows the same subject
    is_negative: bool = False  # no voxel is labelled: the image shows none of the structures


@dataclass(frozen=True, eq=False)
class Case:
    """A pair on the model's grid: canonical order, resampled, intensities ready."""

    name: str
    image: Volume
    labels: Labels
    unknown: tuple[int, ...] = ()


def read_pair(recipe: Recipe, folder: Path, name: str) -> Pair:
    """Read one case as it is on disk.

    Raises:
        BadCase: a file is missing or damaged, shapes or affines differ, values are not finite,
            labels are empty or outside the recipe's list.
    """
    if recipe.generator is not None:
        anatomy = read_anatomy(recipe, folder, name)
        return Pair(name, *synthesise_scan(anatomy, recipe.generator, zlib.crc32(name.encode())))
    chosen = recipe.data
    image, labels = case_files(chosen, folder, name)
    pair = read_files(name, image, labels, recipe.n_classes, allows_negatives=chosen.negatives)
    present = set(np.unique(pair.labels.array).tolist())
    unknown = tuple(n for n in chosen.partial if n not in present)
    if pair.is_negative and len(unknown) == len(recipe.segments):
        message = f"case {name}: no voxel is labelled, and every segment is in data.partial"
        raise BadCase(message, advice="Remove the case: nothing is known about it")
    return replace(pair, unknown=unknown)


def case_files(data: Data, folder: Path, name: str) -> tuple[Path, Path]:
    """Return image and labels of a case, from the folders of the training or of the test cases.

    Raises:
        BadCase: both have an image of that name.
    """
    image = f"{data.image_prefix}{name}{data.image_ending}"
    labels = f"{data.label_prefix}{name}{data.label_ending}"
    files = (folder / data.images / image, folder / data.labels / labels)
    if data.test_images is None or data.test_labels is None:
        return files
    test = (folder / data.test_images / image, folder / data.test_labels / labels)
    if files[0].exists() and test[0].exists():
        message = f"case {name} is in {data.images} and in {data.test_images}"
        raise BadCase(
            message, advice="A test case must not be a training case: rename or remove it"
        )
    return test if test[0].exists() else files


def read_pairs(recipe: Recipe, folder: Path, names: Sequence[str]) -> list[Pair]:
    """Read held-out cases, in the order of `names`; a label map gives several synthetic images.

    The first synthetic image has the name of its label map, as `read_pair` returns it.

    Raises:
        BadCase: of the first case that cannot be used.
        BadSplit: the split file cannot be read.
    """
    if recipe.generator is None:
        subjects = subjects_of(recipe, folder)
        pairs = [read_pair(recipe, folder, name) for name in names]
        return [replace(pair, subject=subjects.get(pair.name, pair.name)) for pair in pairs]
    synthetic = []
    for name in names:
        anatomy = read_anatomy(recipe, folder, name)
        for number in range(1, SYNTHETIC_IMAGES + 1):
            # these seeds gave the images of the released reports
            seed = zlib.crc32((name if number == 1 else f"{name}-drawing-{number}").encode())
            title = name if number == 1 else f"{name}-image-{number}"
            synthetic.append(
                Pair(title, *synthesise_scan(anatomy, recipe.generator, seed), subject=name)
            )
    return synthetic


def read_anatomy(recipe: Recipe, folder: Path, name: str) -> LabelMap:
    """Read the label map of one case of a recipe with a generator.

    Raises:
        BadCase: it cannot be used; the message names the case.
    """
    assert recipe.generator is not None  # callers check it
    fine, chosen, grid = recipe.generator.fine, recipe.data, recipe.grid
    spacing = [edge / fine for edge in grid.spacing_mm_zyx]
    path = folder / chosen.labels / f"{chosen.label_prefix}{name}{chosen.label_ending}"
    return read_label_map(name, path, recipe.generator.anatomy, spacing, grid.orientation)


def pairs_in(images: Path, labels: Path, n_classes: int, ids: Ids | None = None) -> list[Pair]:
    """Read all images of a folder with the labels of the same names in another folder.

    `ids` translates labels of another numbering. Of nnU-Net's image names, `_0000` may be missing
    from the names of the labels. Cases without a labelled voxel are negatives.

    Raises:
        BadCase: there is no image, a pair that cannot be used, or no labelled voxel in any.
    """
    paths = sorted(path for path in images.iterdir() if path.name.endswith(ENDINGS))
    if not paths:
        message = f"{images} has no NIfTI image"
        raise BadCase(message)
    pairs = []
    for path in paths:
        name, dot, ending = path.name.partition(".nii")
        if not (labels / path.name).exists() and name.endswith(CHANNEL):
            name = name.removesuffix(CHANNEL)  # nnU-Net: only images have the channel's number
        label = labels / f"{name}{dot}{ending}"
        pairs.append(read_files(name, path, label, n_classes, ids, allows_negatives=True))
    return pairs


def read_files(
    name: str,
    image_path: Path,
    label_path: Path,
    n_classes: int,
    ids: Ids | None = None,
    *,
    allows_negatives: bool = False,
) -> Pair:
    """Read one case from its two files.

    Raises:
        BadCase: as in `read_pair`.
    """
    for role, path in (("image", image_path), ("label", label_path)):
        if not path.is_file():
            message = f"case {name}: its {role} file {path.name} is missing"
            raise BadCase(message)
        if path.stat().st_size == 0:
            message = f"case {name}: its {role} file {path.name} is empty"
            raise BadCase(message)
    try:
        image = read_volume(image_path)
        labels = read_labels(label_path) if ids is None else read_external_labels(label_path, ids)
    except NodeError as exc:
        message = f"case {name}: {exc.message}"
        raise BadCase(message) from exc
    top = check_pair(name, image, labels, n_classes, has_left_out=ids is not None)
    if top == 0 and not allows_negatives:
        message = f"case {name}: no voxel is labelled"
        raise BadCase(message, advice=NEGATIVES)
    return Pair(name, image, labels, is_negative=top == 0)


def check_pair(
    name: str, image: Volume, labels: Labels, n_classes: int, *, has_left_out: bool = False
) -> int:
    """Refuse a pair with contradictory labels; return its largest label, 0 where there is none.

    LEFT_OUT is an ordinary label, unless a table of ids has set it.

    Raises:
        BadCase: different shapes or affines, or a label outside the list.
    """
    if image.grid.shape != labels.grid.shape:
        message = f"case {name}: image {image.grid.shape} and labels {labels.grid.shape} differ"
        raise BadCase(message)
    if not image.grid.is_close(labels.grid):
        message = f"case {name}: image and labels have equal shapes but different affines"
        raise BadCase(message, advice="Write the labels with the image's affine")
    scored = labels.array[labels.array != LEFT_OUT] if has_left_out else labels.array
    top = int(scored.max(initial=0))
    if top >= n_classes:
        message = f"case {name}: label {top} is not in the list 0 to {n_classes - 1}"
        raise BadCase(message)
    return top


def prepare(recipe: Recipe, pair: Pair) -> Case:
    """Resample a pair to the model's grid, as `node.pipeline.segment` does with an image."""
    turned, turn = orient(pair.image, recipe.grid.orientation)
    ready = Volume(intensity.apply(turned.array, recipe.intensity), turned.grid)
    grid = regrid(turned.grid, recipe.grid.spacing_mm_zyx)
    chosen = recipe.grid
    image = resample(ready, grid, chosen.resample_order, thick=chosen.resample_thick)
    flat = np.ascontiguousarray(turn.apply(pair.labels.array))
    source = Labels(flat, turned_grid(pair.labels.grid, turn))
    array = _resample_labels(source.array, grid.shape, recipe.n_classes)
    ready = Volume(np.ascontiguousarray(image.array), grid)
    return Case(pair.name, ready, Labels(array, grid), pair.unknown)


def read_cases(recipe: Recipe, folder: Path, names: Sequence[str]) -> list[Case]:
    """Read and prepare cases, in the order of `names`.

    Raises:
        BadCase: of the first case that cannot be used.
    """
    return [prepare(recipe, read_pair(recipe, folder, name)) for name in names]


def _resample_labels(
    array: npt.NDArray[np.uint8], shape: tuple[int, int, int], n_classes: int
) -> npt.NDArray[np.uint8]:
    """Give each voxel of the new grid the class with the largest linear share, as nnU-Net does."""
    if array.shape == shape:
        return array
    best = np.full(shape, -1.0, np.float32)
    result = np.zeros(shape, np.uint8)
    for number in range(n_classes):
        share = (array == number).astype(np.float32)
        for axis in range(3):
            if share.shape[axis] != shape[axis]:
                matrix = axis_matrix(share.shape[axis], shape[axis], 1)
                share = np.asarray(along(share, matrix, axis), np.float32)
        result[share > best] = number
        best = np.maximum(best, share)
    return result
