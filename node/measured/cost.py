"""Estimate the time and memory of a series from the measurement of the reference case.

    seconds = patches of the series × seconds per patch + voxels of the series × seconds per voxel
    memory  = peak of the reference case + growth of the arrays + memory of the SEG

The reference case may be a crop and the series a whole body. The time of the network and of
stitching grows with the number of patches, the other time with the voxels of the source. A second
measurement of the reference case with more voxels separates the two. The seconds do not include
reading the images and writing the SEG.
"""

from dataclasses import dataclass
from math import prod

import numpy as np

from node.imaging import Grid
from node.imaging.orient import turn_of, turned_grid
from node.imaging.patches import starts
from node.imaging.resample import regrid
from node.measured.store import Measurement
from node.package import Package

SOURCE_BYTES = 10  # per voxel of the source: float32 as read and after intensity, labels twice
MODEL_BYTES = 8  # per voxel of the model's grid: float32, twice while an axis is resampled
SCORE_BYTES = 8  # per score of a slab of the patch's depth: float32, copied once
SEG_MB = 192.0  # of data sets with some hundred frames, beside the arrays (measured: 171)
MIB = 1 << 20
WIDEST = 512  # rows and columns of the largest image


@dataclass(frozen=True)
class Workload:
    """The work of the pipeline for a series on a given grid."""

    patches: int
    voxels: int  # of the source
    arrays_mb: float


@dataclass(frozen=True)
class Cost:
    """The expected time and memory of a series."""

    seconds: float
    peak_mb: float

    def __str__(self) -> str:
        """Return both, rounded."""
        return f"about {self.seconds:.2g} s and {self.peak_mb:.0f} MiB"


def workload(package: Package, grid: Grid) -> Workload:
    """Count patches, voxels and arrays for a series on `grid`, in any axis order."""
    model = package.manifest.grid
    turned = turned_grid(grid, turn_of(grid, model.orientation))
    shape = regrid(turned, model.spacing_mm_zyx).shape
    padded = tuple(max(n, p) for n, p in zip(shape, model.patch_zyx, strict=True))
    along = zip(padded, model.patch_zyx, strict=True)
    patches = prod(len(starts(n, patch, model.overlap)) for n, patch in along)
    scores = (len(package.manifest.segments) + 1) * model.patch_zyx[0] * prod(padded[1:])
    array_bytes = (
        SOURCE_BYTES * prod(grid.shape) + MODEL_BYTES * prod(padded) + SCORE_BYTES * scores
    )
    return Workload(patches, prod(grid.shape), array_bytes / MIB)


def estimate(measurement: Measurement, work: Workload) -> Cost:
    """Estimate the cost of `work` with the measured size and engine."""
    seconds = work.patches * measurement.patch_s + work.voxels * measurement.voxel_s
    grown_mb = max(0.0, work.arrays_mb - measurement.arrays_mb)
    return Cost(seconds, measurement.peak_mb + grown_mb + SEG_MB)


def largest_grid(package: Package) -> Grid:
    """Return the grid of the largest series that a package accepts."""
    accepted = package.manifest.input
    extent_mm = accepted.field_of_view_mm.high
    finest = int(extent_mm / accepted.spacing_mm.low)
    slices, width = min(int(accepted.slices.high), finest), min(WIDEST, finest)
    spacing_mm = (extent_mm / slices, extent_mm / width, extent_mm / width)
    affine = np.zeros((4, 4))
    affine[2, 0], affine[1, 1], affine[0, 2] = spacing_mm  # slice, row, column -> z, y, x
    affine[3, 3] = 1.0
    return Grid((slices, width, width), affine)
