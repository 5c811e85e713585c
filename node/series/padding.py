"""Replace padding outside the patient, and keep pixels inside that only equal the padding value."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from node.imaging.regions import reaching_corners
from node.series.stored import Mask, Padding

FloatArray = npt.NDArray[np.float32]

LEAST_HU = -1024.0  # no tissue, and no air but by noise, is below
AIR_HU = -900.0  # padding at or below this value changes no structure of a CT


def fill_padding(array: FloatArray, padding: Mapping[int, Padding], *, are_hounsfield: bool) -> str:
    """Set padding to the lowest value of all other pixels, in place.

    A padding value outside the range of all other values is padding everywhere. Inside that range
    it may be tissue too, such as 0 in signed Hounsfield units, and then only the parts that reach a
    corner of their slice are padding: scanners and reformats fill corners first. A padding range
    that holds several image values may hold tissue too, so that of it only values below those of
    any tissue are padding.

    Args:
        array: modality values, [slice, row, column].
        padding: marked pixels by slice.
        are_hounsfield: whether the values are HU.

    Returns:
        A sentence about pixels with the padding value that were kept; empty if there are none.
    """
    if any(one.is_range and not one.is_certain for one in padding.values()):
        believed = {
            at: one.mask & (array[at] < LEAST_HU if are_hounsfield else False)
            for at, one in padding.items()
        }
    elif _is_inside(array, padding):
        believed = {at: reaching_corners(one.mask) for at, one in padding.items()}
    else:
        believed = {at: one.mask for at, one in padding.items()}
    image_values = {at: one.mask & ~believed[at] for at, one in padding.items()}
    numbers = [int(mask.sum()) for mask in image_values.values() if mask.any()]
    highest = max(
        (float(array[at][mask].max()) for at, mask in image_values.items() if mask.any()), default=0
    )
    _fill(array, believed)
    if not numbers or (are_hounsfield and highest <= AIR_HU):
        return ""
    return (
        f"Pixel Padding Value occurs inside the body: {sum(numbers)} pixels of {len(numbers)} "
        f"images have it and were kept as image values"
    )


def _is_inside(array: FloatArray, padding: Mapping[int, Padding]) -> bool:
    """Check whether the padding values lie inside the range of all other values."""
    if all(one.is_certain for one in padding.values()):
        return False
    marked = [array[at][one.mask] for at, one in padding.items()]
    low, high = _range(array, {at: one.mask for at, one in padding.items()})
    lowest, highest = min(float(m.min()) for m in marked), max(float(m.max()) for m in marked)
    return highest >= low and lowest <= high


def _range(array: FloatArray, masks: Mapping[int, Mask]) -> tuple[float, float]:
    """Return the least and the greatest value outside `masks`; an empty range if there are none."""
    low, high = np.inf, -np.inf
    for at, values in enumerate(array):
        others = values[~masks[at]] if at in masks else values
        if others.size:
            low, high = min(low, float(others.min())), max(high, float(others.max()))
    return low, high


def _fill(array: FloatArray, masks: Mapping[int, Mask]) -> None:
    low, _ = _range(array, masks)
    for at, mask in masks.items():
        array[at][mask] = low if np.isfinite(low) else 0.0
