"""Volumes, labels and their grids.

Arrays are indexed [slice, row, column]. An affine maps such an index to patient coordinates in mm,
in DICOM's LPS frame (x to the left, y to the back, z to the head).
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.floating]
Affine = npt.NDArray[np.float64]

AFFINE_TOLERANCE_MM = 1e-3  # grids that differ by less count as equal


@dataclass(frozen=True, eq=False)
class Grid:
    """The places of voxels: a shape and an affine, without values."""

    shape: tuple[int, int, int]
    affine: Affine  # 4 x 4, index (slice, row, column, 1) -> (x, y, z, 1), LPS, mm

    def __post_init__(self) -> None:
        """Check shape and affine."""
        if len(self.shape) != 3 or min(self.shape) < 1:
            message = f"a grid must have three extents of at least 1, not {self.shape}"
            raise ValueError(message)
        if self.affine.shape != (4, 4) or abs(np.linalg.det(self.affine)) < 1e-12:
            message = "an affine must be an invertible 4 x 4 matrix"
            raise ValueError(message)

    @cached_property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Return the distance between voxel centres along each array axis, in mm."""
        lengths = np.linalg.norm(self.affine[:3, :3], axis=0)
        return (float(lengths[0]), float(lengths[1]), float(lengths[2]))

    @property
    def voxel_ml(self) -> float:
        """Return the volume of one voxel in millilitres."""
        return float(abs(np.linalg.det(self.affine[:3, :3]))) / 1000.0

    @property
    def extent_mm(self) -> tuple[float, float, float]:
        """Return the size along each array axis, outer edge to outer edge, in mm."""
        s, n = self.spacing_mm, self.shape
        return (s[0] * n[0], s[1] * n[1], s[2] * n[2])

    def is_close(self, other: "Grid", tolerance_mm: float = AFFINE_TOLERANCE_MM) -> bool:
        """Check that both grids put every voxel at the same place, within `tolerance_mm`."""
        if self.shape != other.shape:
            return False
        corners = np.array(np.meshgrid(*[(0, n - 1) for n in self.shape], indexing="ij"))
        points = np.vstack([corners.reshape(3, -1), np.ones((1, 8))])
        gap = (self.affine - other.affine) @ points
        return bool(np.abs(gap[:3]).max() <= tolerance_mm)


@dataclass(frozen=True, eq=False)
class Volume:
    """Values on a grid."""

    array: FloatArray
    grid: Grid

    def __post_init__(self) -> None:
        """Check that the array fits the grid."""
        _same_shape(self.array.shape, self.grid)


@dataclass(frozen=True, eq=False)
class Labels:
    """One integer per voxel of a grid: 0 is background, n is segment number n."""

    array: npt.NDArray[np.uint8]
    grid: Grid

    def __post_init__(self) -> None:
        """Check that the array fits the grid and is uint8."""
        _same_shape(self.array.shape, self.grid)
        if self.array.dtype != np.uint8:
            message = f"labels must be uint8, not {self.array.dtype}"
            raise ValueError(message)

    def counts(self) -> npt.NDArray[np.int64]:
        """Return the number of voxels of each of the 256 possible labels.

        Plane by plane, because `bincount` makes a copy that is eight times as large.
        """
        result = np.zeros(256, np.int64)
        for plane in self.array:
            result += np.bincount(plane.ravel(), minlength=256)
        return result

    def volumes_ml(self, numbers: tuple[int, ...]) -> dict[int, float]:
        """Return the volume of each segment number in millilitres; 0 for absent ones."""
        counts = self.counts()
        return {number: float(counts[number]) * self.grid.voxel_ml for number in numbers}

    def at_edge(self) -> frozenset[int]:
        """Return the segment numbers that touch an outer face of the grid and may be cut off."""
        faces = [self.array.take(end, axis) for axis in range(3) for end in (0, -1)]
        return frozenset(int(n) for face in faces for n in np.unique(face)) - {0}


def _same_shape(shape: tuple[int, ...], grid: Grid) -> None:
    if shape != grid.shape:
        message = f"the array has shape {shape}, and its grid {grid.shape}"
        raise ValueError(message)
