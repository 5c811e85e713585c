"""Apply the steps that clean finished labels by their connected regions."""

from collections.abc import Callable, Sequence
from typing import assert_never

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from node.imaging.parallel import in_threads
from node.imaging.region_steps import (
    KeepLargest,
    KeepLargestEach,
    KeepNear,
    RegionStep,
    RemoveSmall,
    ReplaceIslands,
)
from node.imaging.volume import Grid, Labels

SecondBest = Callable[[npt.NDArray[np.int64], npt.NDArray[np.uint8]], npt.NDArray[np.uint8]]

ROUNDING_MM = 1e-4  # of a distance in float32


def apply(
    labels: Labels,
    steps: tuple[RegionStep, ...],
    second_best: SecondBest | None = None,
    threads: int = 1,
) -> Labels:
    """Apply `steps` in their order to `labels`; regions connect across voxel faces.

    Args:
        labels: the classes with the largest scores.
        steps: of a package.
        second_best: returns the classes of the second largest scores at voxels [n, 3] whose classes
            are [n]; only `replace_islands` needs it.
        threads: number of computing threads.

    Raises:
        ValueError: a step needs `second_best`.
    """
    array = labels.array
    for step in steps:
        if isinstance(step, ReplaceIslands):
            if second_best is None:
                message = "replace_islands needs the scores of the network"
                raise ValueError(message)
            array = _replaced(array, step, labels.grid, second_best, threads)
        else:
            array = _one(array, step, labels.grid, threads)
    return Labels(array, labels.grid)


def needs_scores(steps: tuple[RegionStep, ...]) -> bool:
    """Return whether a step needs `second_best`."""
    return any(isinstance(step, ReplaceIslands) for step in steps)


def reaching_corners(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Return the regions of a slice [row, column] that reach one of its corners."""
    image = sitk.GetImageFromArray(mask.astype(np.uint8))
    numbers = sitk.GetArrayFromImage(sitk.ConnectedComponent(image))
    corners = {int(numbers[row, column]) for row in (0, -1) for column in (0, -1)} - {0}
    result: npt.NDArray[np.bool_] = np.isin(numbers, list(corners))
    return result


def _replaced(
    array: npt.NDArray[np.uint8],
    step: ReplaceIslands,
    grid: Grid,
    second_best: SecondBest,
    threads: int,
) -> npt.NDArray[np.uint8]:
    result = array.copy()
    box = _box(array != 0)
    if box is None:
        return result
    inner = array[box].copy()
    least = _least_voxels(step.ml, grid)
    _clear_each(inner, step.segments, threads, keep_first=True, at_least=least)
    places = np.argwhere(inner != array[box]) + [edge.start for edge in box]
    if len(places):
        at = tuple(places.T)
        result[at] = second_best(places, array[at])
    return result


def _least_voxels(ml: float, grid: Grid) -> int:
    """Return how many voxels have at least `ml` millilitres, but for rounding of their volume."""
    return int(np.ceil(ml / grid.voxel_ml - 1e-6))


def _one(
    array: npt.NDArray[np.uint8],
    step: KeepLargest | KeepLargestEach | RemoveSmall | KeepNear,
    grid: Grid,
    threads: int,
) -> npt.NDArray[np.uint8]:
    result = array.copy()
    box = _box(array != 0)
    if box is None:
        return result
    inner = result[box]  # a view: no step looks at background
    match step:
        case KeepLargest():
            _clear(inner, _listed(step.segments)[inner], keep_first=True)
        case KeepLargestEach():
            _clear_each(inner, step.segments, threads, keep_first=True)
        case RemoveSmall():
            _clear_each(inner, step.segments, threads, at_least=_least_voxels(step.ml, grid))
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


def _clear_each(
    array: npt.NDArray[np.uint8],
    segments: Sequence[int],
    threads: int,
    *,
    keep_first: bool = False,
    at_least: int | None = None,
) -> None:
    """Clear each of `segments` as `_clear` does; they share no voxel, so threads do not meet."""

    def clear(number: int) -> None:
        _clear(array, array == number, keep_first=keep_first, at_least=at_least)

    in_threads(clear, segments, threads)


def _clear(
    array: npt.NDArray[np.uint8],
    mask: npt.NDArray[np.bool_],
    *,
    keep_first: bool = False,
    at_least: int | None = None,
) -> None:
    """Set `mask` to 0 except regions of `at_least` voxels, and the largest one if `keep_first`.

    Of regions of one size the first one in scan order counts as the largest. Without `at_least` no
    other region stays.
    """
    box = _box(mask)
    if box is None:
        return
    mask = np.ascontiguousarray(mask[box])
    components = sitk.ConnectedComponentImageFilter()
    image = components.Execute(sitk.GetImageFromArray(mask.view(np.uint8)))
    if keep_first and components.GetObjectCount() == 1:
        return
    numbers = sitk.GetArrayViewFromImage(image)[mask]  # from 1, in scan order
    sizes = np.bincount(numbers)
    is_removed = np.ones(numbers.shape, bool) if at_least is None else sizes[numbers] < at_least
    if keep_first:
        is_removed &= numbers != sizes.argmax()
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
