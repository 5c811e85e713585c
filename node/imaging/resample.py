"""Resample volumes along the axes of a grid, with one small matrix per axis.

A grid and its resampled grid cover the same box, as in nnU-Net: outer edges coincide, so sample i
of n lies at (i + 0.5) / n of the extent. Cubic samples equal those of scipy.ndimage.zoom with
mode="nearest" and grid_mode=True, which nnU-Net uses through scikit-image.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Literal

import numpy as np
import numpy.typing as npt

from node.imaging.volume import Affine, FloatArray, Grid, Volume

Matrix = npt.NDArray[np.float32]
Positions = npt.NDArray[np.floating]

THICK = 3.0  # nnU-Net's limit of anisotropy
_EDGE_PAD = 12  # repeated edge samples before the spline's prefilter, as in scipy


def regrid(grid: Grid, spacing_mm: tuple[float, float, float]) -> Grid:
    """Return the grid of the same box whose spacing is as near to `spacing_mm` as whole voxels go.

    Args:
        grid: the source grid; its axes keep their directions.
        spacing_mm: the requested distance between voxel centres along each array axis, in mm.
    """
    pairs = zip(grid.shape, grid.spacing_mm, spacing_mm, strict=True)
    shape = tuple(max(1, round(n * source / target)) for n, source, target in pairs)
    scale = np.array(grid.shape) / np.array(shape)
    to_source: Affine = np.eye(4)
    to_source[:3, :3] = np.diag(scale)
    to_source[:3, 3] = scale * 0.5 - 0.5
    return Grid((shape[0], shape[1], shape[2]), grid.affine @ to_source)


def resample(
    volume: Volume, grid: Grid, order: int = 3, *, thick: Literal["spline", "nearest"] = "spline"
) -> Volume:
    """Sample `volume` at the voxel centres of `grid`, a regridding of the volume's own box.

    Args:
        volume: values on the source grid.
        grid: made by `regrid` from the volume's grid.
        order: 1 for linear, 3 for cubic B-splines.
        thick: "nearest" repeats or skips whole slices along the axis of `thick_axis`, as nnU-Net
            does; "spline" treats all axes alike.
    """
    array: FloatArray = volume.array.astype(np.float32, copy=False)
    repeated = thick_axis(volume.grid.spacing_mm, grid.spacing_mm) if thick == "nearest" else None
    for axis in range(3):
        if array.shape[axis] == grid.shape[axis]:
            continue
        if axis == repeated:
            array = np.take(array, _nearest_places(array.shape[axis], grid.shape[axis]), axis)
        else:
            array = along(array, axis_matrix(array.shape[axis], grid.shape[axis], order), axis)
    return Volume(array, grid)


def nearest(array: FloatArray, shape: tuple[int, int, int]) -> FloatArray:
    """Return the value of one source voxel, the nearest, at each voxel of a regridded `shape`."""
    pairs = zip(array.shape, shape, strict=True)
    return array[np.ix_(*(_nearest_places(source, n) for source, n in pairs))]


def _nearest_places(n_in: int, n_out: int) -> npt.NDArray[np.int64]:
    places = ((np.arange(n_out) + 0.5) * (n_in / n_out)).astype(np.int64)
    return np.minimum(places, n_in - 1)


def thick_axis(*spacings_mm: Sequence[float]) -> int | None:
    """Return the axis across thick slices, which nnU-Net resamples by nearest neighbour.

    It is the coarsest axis of the first spacing whose largest edge exceeds three times the
    smallest; None if there is no such spacing, or if two axes are coarsest.
    """
    for spacing in spacings_mm:
        if max(spacing) > THICK * min(spacing):
            coarsest = [axis for axis in range(3) if np.isclose(spacing[axis], max(spacing))]
            return coarsest[0] if len(coarsest) == 1 else None
    return None


def along(array: FloatArray, matrix: Matrix, axis: int) -> FloatArray:
    """Multiply `matrix` (out x in) into one axis of `array`."""
    moved = np.moveaxis(array, axis, 0)
    product = matrix @ moved.reshape(moved.shape[0], -1)
    return np.moveaxis(product.reshape(matrix.shape[0], *moved.shape[1:]), 0, axis)


@lru_cache(maxsize=64)
def axis_matrix(n_in: int, n_out: int, order: int) -> Matrix:
    """Return the (n_out x n_in) matrix that resamples one axis; edges repeat their last value."""
    if order not in (1, 3):
        message = f"order is 1 or 3, not {order}"
        raise ValueError(message)
    at: Positions = (np.arange(n_out) + 0.5) * (n_in / n_out) - 0.5
    if order == 1:
        matrix = _linear(at, n_in)
    else:
        n_padded = n_in + 2 * _EDGE_PAD
        spline = _cubic_basis(np.clip(at + _EDGE_PAD, 0, n_padded - 1), n_padded)
        prefilter = _cubic_basis(np.arange(n_padded, dtype=float), n_padded)
        padded = np.linalg.solve(prefilter.T, spline.T).T
        matrix = padded[:, _EDGE_PAD:-_EDGE_PAD].copy()
        matrix[:, 0] += padded[:, :_EDGE_PAD].sum(axis=1)
        matrix[:, -1] += padded[:, -_EDGE_PAD:].sum(axis=1)
    result: Matrix = matrix.astype(np.float32)
    result.setflags(write=False)
    return result


def _linear(at: Positions, n: int) -> Positions:
    at = np.clip(at, 0, n - 1)
    low = np.minimum(at.astype(int), max(n - 2, 0))
    high = np.minimum(low + 1, n - 1)
    matrix = np.zeros((len(at), n))
    rows = np.arange(len(at))
    np.add.at(matrix, (rows, low), 1 - (at - low))
    np.add.at(matrix, (rows, high), at - low)
    return matrix


def _cubic_basis(at: Positions, n: int) -> Positions:
    """Return the weights of n cubic B-spline coefficients at `at`, mirrored at both ends."""
    matrix = np.zeros((len(at), n))
    rows = np.arange(len(at))
    first = np.floor(at).astype(int) - 1
    for tap in range(4):
        index = first + tap
        distance = np.abs(at - index)
        near = 2 / 3 - distance**2 + distance**3 / 2
        far = np.maximum(2 - distance, 0) ** 3 / 6
        weight = np.where(distance < 1, near, far)
        period = max(2 * (n - 1), 1)
        folded = np.abs(index) % period
        folded = np.where(folded >= n, period - folded, folded)
        np.add.at(matrix, (rows, folded), weight)
    return matrix
