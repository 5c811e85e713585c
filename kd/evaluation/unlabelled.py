"""Results on real images without reference labels.

Three questions need no reference: do the students agree with the teacher, does another contrast of
the same subject give the same volumes, and which structures do the results show in marked lesions?
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from kd.data.external import images_of
from kd.errors import BadCase
from kd.evaluation.intervals import interval
from kd.recipe.read import TEACHER, Recipe
from kd.recipe.sources import Unlabelled
from kd.records import ContrastDifference, UnlabelledReport, UnlabelledSize
from node.errors import ImplausibleResult
from node.imaging import Labels, Volume
from node.imaging.nifti import read_labels, read_volume
from node.package import Package, check_result
from node.package.manifest import SizeName
from node.pipeline import dice, open_student, segment
from node.student import Student

NOTHING = "nothing"  # voxels of a lesion that belong to no segment


@dataclass(frozen=True)
class ImageFiles:
    """The file of one image, and the files that it is compared with."""

    name: str
    subject: str
    image: Path
    against: Path | None  # another contrast of the same subject, on any grid
    mask: Path | None  # a lesion, on the image's grid


@dataclass(frozen=True)
class UnlabelledSet:
    """The images of one entry under `unlabelled` in a recipe."""

    source: Unlabelled
    images: tuple[ImageFiles, ...]


@dataclass
class _Results:
    """The results of one size, by image."""

    volumes_ml: list[list[float]] = field(default_factory=list)
    against_ml: list[list[float]] = field(default_factory=list)
    like_teacher: list[float] = field(default_factory=list)
    masked: list[np.ndarray] = field(default_factory=list)  # voxels by label
    refused: int = 0


def read_unlabelled(recipe: Recipe, folder: Path) -> list[UnlabelledSet]:
    """Find the files of every unlabelled set of the recipe; `folder` holds their folders.

    Raises:
        BadCase: a set has no image, or a file that belongs to an image is absent.
    """
    return [_read(one, folder) for one in recipe.unlabelled]


def _read(source: Unlabelled, folder: Path) -> UnlabelledSet:
    images = []
    for name, path in images_of(source, folder).items():
        beside = [
            None if place is None else folder / place / f"{name}{ending}"
            for place, ending in (
                (source.against, source.against_ending),
                (source.masks, source.mask_ending),
            )
        ]
        for other in beside:
            if other is not None and not other.is_file():
                message = f"{source.name}: {name} has no {other.name}"
                raise BadCase(message, advice=f"It should be in {other.parent.name}")
        images.append(ImageFiles(name, source.subjects.get(name, name), path, *beside))
    return UnlabelledSet(source, tuple(images))


def survey(package: Package, images: UnlabelledSet, say: Callable[[str], None]) -> UnlabelledReport:
    """Segment every image of one data set with every size.

    Raises:
        NodeError: an image cannot be read, or a network does not fit the manifest.
    """
    sizes = list(package.manifest.sizes)
    students = {size: open_student(package, size, 1) for size in sizes}
    results = {size: _Results() for size in sizes}
    for number, files in enumerate(images.images, 1):
        _segment(package, students, files, results)
        say(f"{images.source.name}: {number} of {len(images.images)}")
    subjects = [files.subject for files in images.images]
    return UnlabelledReport(
        name=images.source.name,
        note=images.source.note,
        cases=len(images.images),
        subjects=len(set(subjects)),
        sizes={size: _report(package, one, subjects) for size, one in results.items()},
    )


def _segment(
    package: Package,
    students: Mapping[SizeName, Student],
    files: ImageFiles,
    results: Mapping[SizeName, _Results],
) -> None:
    image = read_volume(files.image)
    other = None if files.against is None else read_volume(files.against)
    mask = None if files.mask is None else read_labels(files.mask).array > 0
    if mask is not None and mask.shape != image.grid.shape:
        message = f"{files.name}: the mask is not on the image's grid"
        raise BadCase(message)
    numbers, theirs = package.manifest.numbers, None
    for size, student in students.items():
        one = results[size]
        labels = segment(image, package, student).labels
        one.volumes_ml.append(list(labels.volumes_ml(numbers).values()))
        one.refused += _is_implausible(package, labels)
        if other is not None:
            one.against_ml.append(_volumes(other, package, student))
        if mask is not None:
            one.masked.append(np.bincount(labels.array[mask], minlength=len(numbers) + 1))
        if size == TEACHER:
            theirs = labels.array
        elif theirs is not None:
            pairs = ((labels.array == n, theirs == n) for n in numbers)
            one.like_teacher.append(float(np.mean([dice(a, b) for a, b in pairs])))


def _volumes(image: Volume, package: Package, student: Student) -> list[float]:
    labels = segment(image, package, student).labels
    return list(labels.volumes_ml(package.manifest.numbers).values())


def _is_implausible(package: Package, labels: Labels) -> bool:
    try:
        check_result(package.manifest.expect, labels.volumes_ml(package.manifest.numbers))
    except ImplausibleResult:
        return True
    return False


def _report(package: Package, results: _Results, subjects: Sequence[str]) -> UnlabelledSize:
    names = [part.label for part in package.manifest.segments]
    volumes = np.array(results.volumes_ml)
    against = (
        _differences(names, volumes, np.array(results.against_ml)) if results.against_ml else None
    )
    return UnlabelledSize(
        refused=results.refused,
        volumes_ml=dict(zip(names, np.median(volumes, 0).tolist(), strict=True)),
        like_teacher=interval(results.like_teacher, subjects) if results.like_teacher else None,
        against=against,
        masked=_shares(names, results.masked) if results.masked else None,
    )


def _shares(names: Sequence[str], masked: Sequence[np.ndarray]) -> dict[str, float]:
    """Return the share of all marked voxels that each structure has, the largest first."""
    counts = np.sum(masked, axis=0)
    shares = (counts / max(1, counts.sum())).tolist()
    pairs = list(zip([NOTHING, *names], shares, strict=True))
    return dict(sorted(pairs, key=lambda pair: pair[1], reverse=True))


def _differences(
    names: Sequence[str], volumes: np.ndarray, others: np.ndarray
) -> dict[str, ContrastDifference]:
    """Return, by structure, the median difference in percent and the correlation over subjects."""
    result = {}
    for name, mine, theirs in zip(names, volumes.T, others.T, strict=True):
        there = theirs > 0
        percent = 100 * (mine[there] / theirs[there] - 1)
        varies = len(mine) > 2 and mine.std() > 0 and theirs.std() > 0
        result[name] = ContrastDifference(
            percent=float(np.median(percent)) if there.any() else None,
            correlation=float(np.corrcoef(mine, theirs)[0, 1]) if varies else None,
        )
    return result
