"""Segment a volume: labels on the same grid, with one pipeline for the teacher and all students.

The steps are: orient, intensity, resample, network on patches, sharpen (where the package requires
it), back to the source grid, regions.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from node.engines import ONNXRUNTIME
from node.errors import BadPackage
from node.imaging import Labels, Volume, intensity, regions
from node.imaging.assign import assign, assign_by_intensity, second_best
from node.imaging.nifti import read_labels, read_volume
from node.imaging.orient import orient
from node.imaging.patches import Scores, score_rows
from node.imaging.resample import nearest, regrid, resample
from node.imaging.sharpen import corrected, fit
from node.package import Manifest, Package
from node.student import Student

ROUNDING_VOXELS = 10  # of one segment of the reference case

Progress = Callable[[float], None]  # share of the rows done, 0 to 1


@dataclass
class Stopwatch:
    """Seconds by stage, in the order in which the stages ran."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the time spent inside the block to stage `name`."""
        begun = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - begun


@dataclass(frozen=True, eq=False)
class Segmentation:
    """Labels on the source grid, and the seconds of each stage."""

    labels: Labels
    seconds: dict[str, float]


def segment(
    volume: Volume, package: Package, student: Student, progress: Progress | None = None
) -> Segmentation:
    """Segment `volume`; the labels come back on its own grid, voxel for voxel.

    Args:
        volume: intensities in the order and orientation of the source.
        package: the steps, the grid and the segments.
        student: the network of one size of that package.
        progress: called with the share of the rows that are done.
    """
    manifest, clock = package.manifest, Stopwatch()
    with clock.stage("intensity"):
        turned, turn = orient(volume, manifest.grid.orientation)
        ready = Volume(intensity.apply(turned.array, manifest.intensity), turned.grid)
    with clock.stage("resample"):
        grid = regrid(turned.grid, manifest.grid.spacing_mm_zyx)
        chosen = manifest.grid
        sampled = resample(ready, grid, chosen.resample_order, thick=chosen.resample_thick)
    with clock.stage("back"):
        rows = score_rows(
            sampled.array, manifest.grid.patch_zyx, manifest.grid.overlap, _timed(student, clock)
        )
        scored: Iterable[Scores] = _reported(rows, grid.shape[0], progress)
        if manifest.sharpen is not None or regions.needs_scores(manifest.regions):
            scored = held = list(scored)
        by_intensity = None
        if manifest.sharpen is None:
            array = assign(scored, grid.shape[0], turned.grid.shape)
        else:
            single = nearest(ready.array, grid.shape)
            model, gain = fit(held, single, grid.spacing_mm, manifest.sharpen, student.threads)
            by_intensity = (corrected(ready.array, gain), model)
            array = assign_by_intensity(held, *by_intensity, student.threads)
    # the network runs inside the stage "back"; the rest is stitching and assigning labels
    clock.seconds["back"] -= clock.seconds["network"]
    with clock.stage("regions"):
        second = None
        if regions.needs_scores(manifest.regions):
            second = partial(second_best, held, turned.grid.shape, by_intensity=by_intensity)
        cleaned = regions.apply(
            Labels(array, turned.grid), manifest.regions, second, student.threads
        )
        labels = Labels(np.ascontiguousarray(turn.undo(cleaned.array)), volume.grid)
    return Segmentation(labels, clock.seconds)


def reference_dice(
    package: Package, size: str, threads: int = 0, engine: str = ONNXRUNTIME
) -> float:
    """Run one size on the package's reference case; return the lowest Dice of any segment.

    Raises:
        BadPackage: the network does not fit the manifest, or as `reference_scores`.
        Misconfigured: the engine cannot run here.
    """
    image = read_volume(package.folder / package.manifest.reference.image)
    student = open_student(package, size, threads, engine)
    return least_dice(package, size, segment(image, package, student).labels)


def may_run(package: Package, dice: float) -> bool:
    """Return whether a size with this Dice on its reference case may run on this machine.

    The node, `segnode models bench` and every benchmark ask this function: a number is measured
    only for what the node would run.
    """
    return dice >= package.manifest.reference.least_dice


def least_dice(package: Package, size: str, labels: Labels) -> float:
    """Compare labels of the reference case with those that `size` must give: the worst segment.

    Raises:
        BadPackage: as `reference_scores`.
    """
    return min(reference_scores(package, size, labels))


def reference_scores(package: Package, size: str, labels: Labels) -> list[float]:
    """Compare labels of the reference case with those that `size` must give: Dice by segment.

    A segment that differs in at most `ROUNDING_VOXELS` counts as equal: where two classes are
    equally probable the last bits decide, and those depend on the processor. One such voxel of a
    small structure would be a Dice below 0.999.

    Raises:
        BadPackage: the reference labels lack a segment, so they cannot verify it.
    """
    label_file = next(
        name for key, name in package.manifest.reference.labels.items() if key == size
    )
    expected = read_labels(package.folder / label_file)
    if absent := absent_segments(expected, package.manifest):
        message = (
            f"package {package.name}, size {size}: {label_file} has no voxel of "
            f"{', '.join(absent)}, so nothing verifies it"
        )
        advice = "Release it with a reference image in which every size detects every segment."
        raise BadPackage(message, advice=advice)
    scores = []
    for n in package.manifest.numbers:
        ours: NDArray[np.bool_] = labels.array == n
        theirs: NDArray[np.bool_] = expected.array == n
        is_rounding = np.count_nonzero(ours ^ theirs) <= ROUNDING_VOXELS
        scores.append(1.0 if is_rounding else dice(ours, theirs))
    return scores


def absent_segments(labels: Labels, manifest: Manifest) -> list[str]:
    """Return the labels of the segments of which `labels` has no voxel."""
    counts = labels.counts()
    return [segment.label for segment in manifest.segments if not counts[segment.number]]


def open_student(
    package: Package,
    size: str,
    threads: int = 0,
    engine: str = ONNXRUNTIME,
    compiled: Path | None = None,
) -> Student:
    """Load the network of one size and compare its shapes with the manifest.

    Args:
        package: of which `size` is a network.
        size: a size of `package`.
        threads: number of computing threads (0: one per available CPU).
        engine: the library that computes the network.
        compiled: folder for compiled networks; None: each process compiles its own.

    Raises:
        BadPackage: the network has another patch or another number of classes.
        Misconfigured: the engine cannot run here.
    """
    place = None if compiled is None else compiled / f"{package.digest[:32]}-{size}"
    student = Student(package.network_file(size), threads, engine, place)
    expected = (package.manifest.grid.patch_zyx, len(package.manifest.segments) + 1)
    if (student.patch_zyx, student.n_classes) != expected:
        message = (
            f"package {package.name}, size {size}: the network has patch {student.patch_zyx} and "
            f"{student.n_classes} classes, the manifest has {expected[0]} and {expected[1]}"
        )
        raise BadPackage(message)
    return student


def dice(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    """Return the Dice overlap of two boolean arrays; 1.0 if both are empty."""
    total = np.count_nonzero(a) + np.count_nonzero(b)
    return float(2.0 * np.count_nonzero(a & b) / total) if total else 1.0


def _timed(student: Student, clock: Stopwatch) -> Callable[[np.ndarray], np.ndarray]:
    def network(patch: np.ndarray) -> np.ndarray:
        with clock.stage("network"):
            return student(patch)

    return network


def _reported(rows: Iterator[Scores], depth: int, progress: Progress | None) -> Iterator[Scores]:
    for done, row in enumerate(rows, start=1):
        if progress is not None:
            progress(done / depth)
        yield row
