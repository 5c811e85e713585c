"""The closed list of steps on finished labels: what a structure may look like.

A step acts on the listed segments one after another; voxels that it removes become background.
"""

from typing import assert_never

import msgspec
import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from node.imaging.volume import Labels


class KeepLargest(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="keep_largest", tag_field="step"
):
    """Keep only the largest connected piece of the listed segments taken together."""

    segments: tuple[int, ...]


class KeepLargestEach(
    msgspec.Struct,
    frozen=True,
    forbid_unknown_fields=True,
    tag="keep_largest_each",
    tag_field="step",
):
    """Keep only the largest connected piece of each listed segment on its own."""

    segments: tuple[int, ...]


class RemoveSmall(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="remove_small", tag_field="step"
):
    """Remove connected pieces of each listed segment that are smaller than `ml` millilitres."""

    segments: tuple[int, ...]
    ml: float


RegionStep = KeepLargest | KeepLargestEach | RemoveSmall


def apply(labels: Labels, steps: tuple[RegionStep, ...]) -> Labels:
    """Return `labels` after `steps`, in their order; pieces connect across voxel faces."""
    array = labels.array
    for step in steps:
        array = _one(array, step, labels.grid.voxel_ml)
    return Labels(array, labels.grid)


def _one(array: npt.NDArray[np.uint8], step: RegionStep, voxel_ml: float) -> npt.NDArray[np.uint8]:
    result = array.copy()
    match step:
        case KeepLargest():
            wanted = np.zeros(256, bool)
            wanted[list(step.segments)] = True
            _clear(result, wanted[array], keep_first=True)
        case KeepLargestEach():
            for number in step.segments:
                _clear(result, array == number, keep_first=True)
        case RemoveSmall():
            least = int(np.ceil(step.ml / voxel_ml - 1e-6))  # a voxel of 0.9999… ml is 1 ml
            for number in step.segments:
                _clear(result, array == number, at_least=least)
        case _:
            assert_never(step)
    return result


def _clear(
    array: npt.NDArray[np.uint8],
    mask: npt.NDArray[np.bool_],
    *,
    keep_first: bool = False,
    at_least: int = 0,
) -> None:
    """Set what lies in `mask` to 0, but for its largest piece, or all pieces of `at_least`."""
    box = _box(mask)
    if box is None:
        return
    mask = np.ascontiguousarray(mask[box])
    image = sitk.GetImageFromArray(mask.astype(np.uint8))
    # RelabelComponent sorts by size; equal sizes keep scan order, so the result is reproducible
    ordered = sitk.RelabelComponent(sitk.ConnectedComponent(image), at_least)
    numbers = sitk.GetArrayViewFromImage(ordered)
    array[box][mask & (numbers != 1 if keep_first else numbers == 0)] = 0


def _box(mask: npt.NDArray[np.bool_]) -> tuple[slice, slice, slice] | None:
    """Return the smallest box around `mask`; looking for pieces elsewhere would only cost time."""
    box = []
    for axis in range(3):
        found = np.flatnonzero(mask.any(axis=tuple(a for a in range(3) if a != axis)))
        if not len(found):
            return None
        box.append(slice(int(found[0]), int(found[-1]) + 1))
    return (box[0], box[1], box[2])
