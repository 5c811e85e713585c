"""What a series will take, from what the golden case took.

    seconds = patches of the series × seconds per patch + voxels of the series × seconds per voxel
    memory  = peak of the golden case + what the arrays of the series are larger by

The golden case may be a crop and the series a whole body: the network's work is counted in
patches, which are all alike, and every other step in voxels of the source. Small golden cases make
the time per voxel look larger than it is: the estimate is then too high, never too low.
"""

from dataclasses import dataclass
from math import prod

from node.imaging import Grid
from node.imaging.orient import turn_of, turned_grid
from node.imaging.patches import starts
from node.imaging.resample import regrid
from node.measured.store import Measurement
from node.package import Package

# float32 as read and after intensity, labels twice, and the frames of the SEG
SOURCE_BYTES = 16  # for each voxel of the source
MODEL_BYTES = 8  # for each voxel of the model's grid: float32, while one axis is resampled twice
SCORE_BYTES = 8  # for each score of a slab of the patch's depth: float32, moved up by a copy
MIB = 1 << 20


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
    return Cost(seconds, measurement.peak_mb + grown_mb)
