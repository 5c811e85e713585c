"""Plain versions of what the node does plane by plane, by arrays, or as bytes.

Each is the shortest way to the same result. Tests compare bit for bit.
"""

import io
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pydicom
import SimpleITK as sitk

from node.imaging.assign import Bytes
from node.imaging.intensity import (
    STD_FLOOR,
    Clip,
    ClipPercentiles,
    IntensityStep,
    Standardise,
    ToUnitRange,
    ZScore,
)
from node.imaging.patches import Scores
from node.imaging.resample import axis_matrix
from node.imaging.sharpen import IntensityModel
from node.imaging.volume import FloatArray
from node.seg.encode import Described, by_highdicom


def seg_bytes(described: Described) -> bytes:
    """Let highdicom make every frame, and pydicom write the file."""
    omit_empty = described.encoding.omit_empty_frames
    seg, _ = by_highdicom(described, described.labels.array, omit_empty=omit_empty)
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, seg, enforce_file_format=True)
    return buffer.getvalue()


def intensity(array: FloatArray, steps: tuple[IntensityStep, ...]) -> FloatArray:
    """Apply each step to the whole array at once."""
    for step in steps:
        match step:
            case Clip():
                array = np.clip(array, np.float32(step.low), np.float32(step.high))
            case ClipPercentiles():
                low, high = np.percentile(array, [step.low, step.high])
                array = np.clip(array, np.float32(low), np.float32(high))
            case Standardise():
                array = (array - np.float32(step.mean)) / np.float32(max(step.std, STD_FLOOR))
            case ToUnitRange():
                low, high = float(array.min()), float(array.max())
                array = (array - np.float32(low)) / np.float32(max(high - low, STD_FLOOR))
            case ZScore():
                array = _z_score(array, step)
    return array


def _z_score(array: FloatArray, step: ZScore) -> FloatArray:
    counted = array
    if step.nonzero_box:
        places = np.argwhere(array != 0)
        if len(places):
            ends = zip(places.min(0), places.max(0) + 1, strict=True)
            counted = array[tuple(slice(*end) for end in ends)]
        else:
            counted = array[:0]
    if step.nonzero_only:
        counted = counted[counted != 0]
    if not counted.size:
        return np.zeros_like(array)
    mean, std = counted.mean(dtype=np.float64), counted.std(dtype=np.float64)
    result = ((array.astype(np.float64) - mean) / max(std, STD_FLOOR)).astype(np.float32)
    if step.nonzero_only:
        result[array == 0] = 0
    return result


def by_intensity(rows: Sequence[Scores], image: FloatArray, model: IntensityModel) -> Bytes:
    """Compute the posterior of every class at every source voxel."""
    depth = len(rows)
    at = np.clip((np.arange(len(image)) + 0.5) * (depth / len(image)) - 0.5, 0, depth - 1)
    labels = np.zeros(image.shape, np.uint8)
    weighted = [row * np.float32(model.prior) for row in rows]
    down = axis_matrix(rows[0].shape[1], image.shape[1], 1)
    across = axis_matrix(rows[0].shape[2], image.shape[2], 1)
    for z, plane in enumerate(image):
        low = int(at[z])
        share = np.float32(at[z] - low)
        below, above = weighted[low], weighted[min(low + 1, depth - 1)]
        scores = below + share * (above - below)
        best = np.full(plane.shape, -np.inf, np.float32)
        for k in range(len(scores)):
            value = down @ scores[k] @ across.T
            value += model.log_likelihood(k, plane)
            labels[z][value > best] = k
            best = np.maximum(best, value)
    return labels


def near(
    mask: npt.NDArray[np.bool_],
    others: npt.NDArray[np.bool_],
    spacing_mm: tuple[float, float, float],
    mm: float,
) -> npt.NDArray[np.bool_]:
    """Mark the voxels of `mask` within `mm` of a voxel of `others`, pair by pair."""
    result = np.zeros_like(mask)
    targets = np.argwhere(others) * spacing_mm
    for place in np.argwhere(mask):
        distances = np.linalg.norm(targets - place * spacing_mm, axis=1)
        result[tuple(place)] = distances.min() <= mm + 1e-4
    return result


def second_by_intensity(
    rows: Sequence[Scores], image: FloatArray, model: IntensityModel, best: Bytes
) -> Bytes:
    """Compute the class of the second largest posterior at every source voxel."""
    up, down, across = (
        axis_matrix(n_in, n_out, 1)
        for n_in, n_out in zip((len(rows), *rows[0].shape[1:]), image.shape, strict=True)
    )
    scores = np.tensordot(up, np.stack(rows), 1)  # [Z, C, y, x]
    values = np.einsum("Yy,zcyx,Xx->czYX", down, scores, across) * model.prior
    for k in range(len(values)):
        values[k] += model.log_likelihood(k, image)
        values[k][best == k] = -np.inf
    return values.argmax(0).astype(np.uint8)


def islands(mask: npt.NDArray[np.bool_], below: int) -> npt.NDArray[np.bool_]:
    """Mark the regions other than the largest one that have fewer than `below` voxels."""
    numbers = sitk.GetArrayFromImage(
        sitk.ConnectedComponent(sitk.GetImageFromArray(mask.astype(np.uint8)))
    )
    result = np.zeros_like(mask)
    for number in range(1, numbers.max() + 1):
        if (numbers == number).sum() < below:
            result |= numbers == number
    return result & ~largest_region(mask)


def largest_region(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Return the largest connected region, the first in scan order of several."""
    numbers = sitk.RelabelComponent(
        sitk.ConnectedComponent(sitk.GetImageFromArray(mask.astype(np.uint8)))
    )
    result: npt.NDArray[np.bool_] = sitk.GetArrayFromImage(numbers) == 1
    return result
