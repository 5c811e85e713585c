"""Apply the steps that clean finished labels by their connected regions."""

from typing import assert_never

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from node.imaging.region_steps import (
    KeepLargest,
    KeepLargestEach,
    KeepNear,
    RegionStep,
    RemoveSmall,
)
from node.imaging.volume import Grid, Labels

ROUNDING_MM = 1e-4  # of a distance in float32


def apply(labels: Labels, steps: tuple[RegionStep, ...]) -> Labels:
    """Apply `steps` in their order to `labels`; regions connect across voxel faces."""
    array = labels.array
    for step in steps:
        array = _one(array, step, labels.grid)
    return Labels(array, labels.grid)


def reaching_corners(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Return the regions of a slice [row, column] that reach one of its corners."""
    image = sitk.GetImageFromArray(mask.astype(np.uint8))
    numbers = sitk.GetArrayFromImage(sitk.ConnectedComponent(image))
    corners = {int(numbers[row, column]) for row in (0, -1) for column in (0, -1)} - {0}
    result: npt.NDArray[np.bool_] = np.isin(numbers, list(corners))
    return result


def _one(array: npt.NDArray[np.uint8], step: RegionStep, grid: Grid) -> npt.NDArray[np.uint8]:
    result = array.copy()
    box = _box(array != 0)
    if box is None:
        return result
    inner = result[box]  # a view: no step looks at background
    match step:
        case KeepLargest():
            _clear(inner, _listed(step.segments)[inner], keep_first=True)
        case KeepLargestEach():
            for number in step.segments:
                _clear(inner, inner == number, keep_first=True)
        case RemoveSmall():
            # tolerates rounding of the voxel's volume
            least = int(np.ceil(step.ml / grid.voxel_ml - 1e-6))
            for number in step.segments:
                _clear(inner, inner == number, at_least=least)
        case KeepNear():
            _clear_far(inner, _listed(step.segments)[inner], grid.spacing_mm, step.mm)
        case _:
            assert_never(step)
    return result


def _listed(segments: tuple[int, ...]) -> npt.NDArray[np.bool_]:
    """Return for each of the 256 possible labels whether it is among `segments`."""
    listed = np.zeros(256, bool)
    listed[list(segments)] = True
    return listed


def _clear_far(
    array: npt.NDArray[np.uint8],
    mask: npt.NDArray[np.bool_],
    spacing_mm: tuple[float, float, float],
    mm: float,
) -> None:
    """Set those voxels of `mask` to 0 that are farther than `mm` from all other labelled voxels.

    Distances are exact (Maurer et al. 2003, doi 10.1109/TPAMI.2003.1177156), up to rounding.
    """
    others = (array != 0) & ~mask
    if not others.any():
        array[mask] = 0
        return
    image = sitk.GetImageFromArray(others.view(np.uint8))
    image.SetSpacing(spacing_mm[::-1])
    distances = sitk.SignedMaurerDistanceMap(image, squaredDistance=False, useImageSpacing=True)
    array[mask & (sitk.GetArrayViewFromImage(distances) > mm + ROUNDING_MM)] = 0


def _clear(
    array: npt.NDArray[np.uint8],
    mask: npt.NDArray[np.bool_],
    *,
    keep_first: bool = False,
    at_least: int = 0,
) -> None:
    """Set `mask` to 0 except its largest region, or except regions of `at_least` voxels.

    Of regions of one size the first one in scan order counts as the largest.
    """
    box = _box(mask)
    if box is None:
        return
    mask = np.ascontiguousarray(mask[box])
    image = sitk.ConnectedComponent(sitk.GetImageFromArray(mask.view(np.uint8)))
    numbers = sitk.GetArrayViewFromImage(image)[mask]  # from 1, in scan order
    sizes = np.bincount(numbers)
    is_removed = numbers != sizes.argmax() if keep_first else sizes[numbers] < at_least
    mask[mask] = is_removed
    array[box][mask] = 0


def _box(mask: npt.NDArray[np.bool_]) -> tuple[slice, slice, slice] | None:
    """Return the smallest box around `mask`, to which the search for regions is limited."""
    box = []
    for axis in range(3):
        occupied = np.flatnonzero(mask.any(axis=tuple(a for a in range(3) if a != axis)))
        if not len(occupied):
            return None
        box.append(slice(int(occupied[0]), int(occupied[-1]) + 1))
    return (box[0], box[1], box[2])
