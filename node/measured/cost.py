"""What a series will take, from what the reference case took.

    seconds = patches of the series × seconds per patch + voxels of the series × seconds per voxel
    memory  = peak of the reference case + what the arrays of the series are larger by + the SEG

The reference case may be a crop and the series a whole body: what the network and stitching take is
counted in patches, which are all alike, and what grows with the source in its voxels; the reference
case is measured in more voxels too, to tell them apart. Reading the images and writing the SEG is
not in the seconds.
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

SOURCE_BYTES = 10  # for each voxel of the source: float32 as read and after intensity, labels twice
MODEL_BYTES = 8  # for each voxel of the model's grid: float32, while one axis is resampled twice
SCORE_BYTES = 8  # for each score of a slab of the patch's depth: float32, moved up by a copy
SEG_MB = 192.0  # what data sets of some hundred frames took beside the arrays (measured: 171)
MIB = 1 << 20
WIDEST = 512  # rows and columns of an image where a package does not ask for fewer


@dataclass(frozen=True)
class Workload:
    """What a series on a given grid asks of the pipeline."""

    patches: int
    voxels: int  # of the source
    arrays_mb: float


@dataclass(frozen=True)
class Cost:
    """What a series is expected to take."""

    seconds: float
    peak_mb: float

    def __str__(self) -> str:
        """Read as people say it."""
        return f"about {self.seconds:.2g} s and {self.peak_mb:.0f} MiB"


def workload(package: Package, grid: Grid) -> Workload:
    """Count what a series on `grid`, in any axis order, asks of the pipeline of `package`."""
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
    """Return what `work` takes with the size and engine that were measured."""
    seconds = work.patches * measurement.patch_s + work.voxels * measurement.voxel_s
    grown_mb = max(0.0, work.arrays_mb - measurement.arrays_mb)
    return Cost(seconds, measurement.peak_mb + grown_mb + SEG_MB)


def largest_grid(package: Package) -> Grid:
    """Return the grid of the largest series that `package` accepts."""
    accepted = package.manifest.input
    extent_mm = accepted.field_of_view_mm.high
    finest = int(extent_mm / accepted.spacing_mm.low)
    slices, width = min(int(accepted.slices.high), finest), min(WIDEST, finest)
    spacing_mm = (extent_mm / slices, extent_mm / width, extent_mm / width)
    affine = np.zeros((4, 4))
    affine[2, 0], affine[1, 1], affine[0, 2] = spacing_mm  # slice, row, column -> z, y, x
    affine[3, 3] = 1.0
    return Grid((slices, width, width), affine)
