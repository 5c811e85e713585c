"""False positives in negative cases: images that show none of the structures.

Dice says nothing about them: it is 1 without a false positive, and 0 with a single wrong voxel.
"""

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from kd.data.cases import Pair
from kd.records import NegativeCases
from node.imaging import Grid
from node.package import Package
from node.package.manifest import SizeName
from node.pipeline import open_student, segment

TOUCHING = np.ones((3, 3, 3), np.uint8)  # voxels that share a face, an edge or a corner


def positives(pairs: Iterable[Pair]) -> list[Pair]:
    """Return the cases that show at least one structure."""
    return [pair for pair in pairs if not pair.is_negative]


def false_positives(
    package: Package, pairs: Sequence[Pair], sizes: Sequence[SizeName], threads: int = 1
) -> dict[SizeName, NegativeCases]:
    """Segment the negative cases with each size and count what it detects; empty without any.

    Raises:
        BadPackage: a network does not fit the manifest.
    """
    negative = [pair for pair in pairs if pair.is_negative]
    if not negative:
        return {}
    counted = {}
    for size in sizes:
        student = open_student(package, size, threads)
        results = [
            detected(segment(p.image, package, student).labels.array, p.image.grid, p.unknown)
            for p in negative
        ]
        counted[size] = summary(results)
    return counted


def detected(
    labels_zyx: npt.NDArray[np.uint8], grid: Grid, unknown: Sequence[int] = ()
) -> tuple[int, float]:
    """Return the number of connected regions of all structures, and their volume in ml.

    Args:
        labels_zyx: a result [Z, Y, X].
        grid: of it.
        unknown: structures that are not labelled in this case: they may be there.
    """
    regions, voxels = 0, 0
    for number in np.unique(labels_zyx[labels_zyx > 0]):
        if number in unknown:
            continue
        mask = labels_zyx == number
        regions += int(ndimage.label(mask, TOUCHING)[1])
        voxels += int(mask.sum())
    return regions, voxels * grid.voxel_ml


def summary(results: Sequence[tuple[int, float]]) -> NegativeCases:
    """Return the means per case of `detected`."""
    return NegativeCases(
        cases=len(results),
        with_false_positives=sum(regions > 0 for regions, _ in results),
        regions=float(np.mean([regions for regions, _ in results])),
        ml=float(np.mean([ml for _, ml in results])),
    )
