"""Conform a volume as brainchop's networks require, and bring their labels back to its grid.

Conformed: 256³ voxels of 1 mm, array axes to the left, down and to the front (LIA), as uint8.
A whole axis is permuted or flipped, never rotated: an oblique volume stays oblique.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from node.imaging import Grid, Volume
from node.imaging.orient import Turn, orient
from node.imaging.resample import nearest, regrid, resample

Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
Shape = tuple[int, int, int]
Box = tuple[slice, slice, slice]

CUBE: Shape = (256, 256, 256)
SPACING_MM = (1.0, 1.0, 1.0)
MARGIN = 8  # voxels around the head
TO_LIA, FROM_LIA = (2, 0, 1), (1, 2, 0)  # the node's order is z, y, x; LIA is x, z, y
WHITE = 99.9  # this percentile of the foreground becomes 255


@dataclass(frozen=True, eq=False)
class Conformed:
    """The conformed voxels, and the steps that `labels_back` reverses."""

    array: Bytes  # [left, down, front]
    turn: Turn
    turned: Grid  # the source grid in the node's axis order
    sampled: Shape  # the same box in voxels of 1 mm

    def labels_back(self, labels: Bytes) -> Bytes:
        """Return labels of the conformed voxels on the source grid, by nearest neighbour."""
        box = centred(labels.transpose(FROM_LIA), self.sampled)
        turned = nearest(box.astype(np.float32), self.turned.shape).astype(np.uint8)
        return np.ascontiguousarray(self.turn.undo(turned))


def conform(volume: Volume) -> Conformed:
    """Turn and resample `volume` (linear), scale it to uint8 and centre it in the cube."""
    turned, turn = orient(volume, "LAI")
    sampled = resample(turned, regrid(turned.grid, SPACING_MM), order=1)
    cube = np.ascontiguousarray(centred(as_bytes(sampled.array), CUBE).transpose(TO_LIA))
    return Conformed(cube, turn, turned.grid, sampled.grid.shape)


def centred(array: npt.NDArray[Any], shape: Shape) -> npt.NDArray[Any]:
    """Put `array` in the middle of zeros of `shape`; a longer axis loses both ends.

    A second call with the first shape puts every voxel back in its place.
    """
    result = np.zeros(shape, array.dtype)
    target, source = [], []
    for n, m in zip(array.shape, shape, strict=True):
        shift = int((m - n) / 2)  # rounded towards 0, so that the way back is the same shift
        both = min(n, m)
        target.append(slice(max(shift, 0), max(shift, 0) + both))
        source.append(slice(max(-shift, 0), max(-shift, 0) + both))
    result[tuple(target)] = array[tuple(source)]
    return result


def as_bytes(array: npt.NDArray[np.floating]) -> Bytes:
    """Scale intensities so that the 99.9th percentile of the foreground (above 0) becomes 255."""
    foreground = array[array > 0]
    if foreground.size == 0:
        return np.zeros(array.shape, np.uint8)
    scaled = array * (255.0 / np.percentile(foreground, WHITE))
    result: Bytes = np.clip(np.rint(scaled), 0, 255).astype(np.uint8)
    return result


def head_box(array: Bytes) -> Box:
    """Return the box of the voxels above 0 and 8 more on each side, with even edges.

    Edges are even because one of the networks halves the grid.
    """
    box = []
    for axis in range(3):
        others = tuple(other for other in range(3) if other != axis)
        inside = np.flatnonzero(array.any(axis=others))
        if inside.size == 0:
            box.append(slice(0, array.shape[axis]))
            continue
        first = max(int(inside[0]) - MARGIN, 0)
        end = min(int(inside[-1]) + 1 + MARGIN, array.shape[axis])
        box.append(slice(first - first % 2, end + end % 2))
    return (box[0], box[1], box[2])


def min_max(array: Bytes) -> Floats:
    """Scale the minimum to 0 and the maximum to 1."""
    return _scaled(array, float(array.min()), float(array.max()))


def quantiles(array: Bytes) -> Floats:
    """Scale the quantiles 0.02 and 0.98 of all voxels to 0 and 1, and clip."""
    low, high = np.quantile(array, [0.02, 0.98])
    return np.clip(_scaled(array, float(low), float(high)), 0, 1)


def _scaled(array: Bytes, low: float, high: float) -> Floats:
    span = high - low if high > low else 1.0
    return (array.astype(np.float32) - np.float32(low)) / np.float32(span)
