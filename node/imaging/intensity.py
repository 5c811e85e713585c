"""The closed list of intensity steps that a package may require before the network, in order.

A step is data: its numbers come from the manifest, and a manifest can name no other step.
"""

from typing import assert_never

import msgspec
import numpy as np

from node.imaging.numbers import Number, Percentile, Positive
from node.imaging.volume import FloatArray

STD_FLOOR = 1e-8  # a constant image becomes zeros instead of a division by zero


class Clip(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="clip", tag_field="step"):
    """Limit values to [low, high], for CT in HU."""

    low: Number
    high: Number


class ClipPercentiles(
    msgspec.Struct,
    frozen=True,
    forbid_unknown_fields=True,
    tag="clip_percentiles",
    tag_field="step",
):
    """Limit values to two percentiles (0 to 100) of the image."""

    low: Percentile
    high: Percentile


class Standardise(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="standardise", tag_field="step"
):
    """Subtract `mean` and divide by `std`: fixed numbers of the training set, for CT."""

    mean: Number
    std: Positive


class ZScore(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="z_score", tag_field="step"
):
    """Subtract the mean of the image and divide by its standard deviation."""

    nonzero_only: bool = False  # measure and change only voxels other than 0
    nonzero_box: bool = False  # measure only the smallest box around them, as nnU-Net crops


class ToUnitRange(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="to_unit_range", tag_field="step"
):
    """Map the image's minimum to 0 and its maximum to 1."""


IntensityStep = Clip | ClipPercentiles | Standardise | ZScore | ToUnitRange


def apply(array: FloatArray, steps: tuple[IntensityStep, ...]) -> FloatArray:
    """Apply `steps` in their order to a float32 copy of `array`.

    Each step changes the copy plane by plane: whole arrays between the steps would take most of the
    time, for memory that is new each time.
    """
    result: FloatArray = array.astype(np.float32)
    for step in steps:
        _apply_one(result, step)
    return result


def _apply_one(array: FloatArray, step: IntensityStep) -> None:
    """Apply one step in place."""
    match step:
        case Clip():
            _clip(array, step.low, step.high)
        case ClipPercentiles():
            low, high = np.percentile(array, [step.low, step.high])
            _clip(array, low, high)
        case Standardise():
            _shift_and_scale(array, step.mean, step.std)
        case ZScore():
            _z_score(array, step)
        case ToUnitRange():
            low, high = float(array.min()), float(array.max())
            _shift_and_scale(array, low, high - low)
        case _:
            assert_never(step)


def _planes(array: FloatArray) -> FloatArray:
    """Return `array` with the axis first along which its planes are whole pieces of memory."""
    return np.moveaxis(array, int(np.argmax(array.strides)), 0)


def _clip(array: FloatArray, low: float, high: float) -> None:
    for plane in _planes(array):
        np.clip(plane, np.float32(low), np.float32(high), out=plane)


def _shift_and_scale(array: FloatArray, shift: float, scale: float) -> None:
    for plane in _planes(array):
        np.subtract(plane, np.float32(shift), out=plane)
        np.divide(plane, np.float32(max(scale, STD_FLOOR)), out=plane)


def _z_score(array: FloatArray, step: ZScore) -> None:
    counted = array[_nonzero_box(array)] if step.nonzero_box else array
    if step.nonzero_only:
        counted = counted[counted != 0]
    if not counted.size:
        array[...] = 0
        return
    # float64 sums: MR values around 1e6 lose digits in float32
    mean, std = counted.mean(dtype=np.float64), counted.std(dtype=np.float64)
    for plane in _planes(array):  # so that no float64 volume is in memory
        scaled = (plane.astype(np.float64) - mean) / max(std, STD_FLOOR)
        if step.nonzero_only:
            scaled[plane == 0] = 0
        plane[...] = scaled


def _nonzero_box(array: FloatArray) -> tuple[slice, ...]:
    """Return the smallest box with all voxels other than 0; an empty box if there are none."""
    box = []
    for axis in range(array.ndim):
        others = tuple(a for a in range(array.ndim) if a != axis)
        occupied = np.flatnonzero((array != 0).any(axis=others))
        box.append(slice(occupied[0], occupied[-1] + 1) if len(occupied) else slice(0, 0))
    return tuple(box)
