"""Real images without reference labels: what every size finds in them, and whether that can be.

Three questions that need no reference: do the students find what the teacher finds; does another
contrast of the same person give the same volumes; what is drawn where somebody marked a lesion.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from kd.data.external import images_of
from kd.errors import BadCase
from kd.evaluation.intervals import interval
from kd.recipe.choices import Unlabelled
from kd.recipe.read import TEACHER, Recipe
from node.errors import ImplausibleResult
from node.imaging import Labels, Volume
from node.imaging.nifti import read_labels, read_volume
from node.package import Package, check_result
from node.pipeline import dice, open_student, segment
from node.student import Student

NOTHING = "nothing"  # voxels of a lesion that belong to no segment


@dataclass(frozen=True)
class Person:
    """The files of one image, and of what is compared with it."""

    name: str
    subject: str  # whom it shows
    image: Path
    against: Path | None  # another contrast of the same person, on any grid
    mask: Path | None  # a lesion, on the image's grid


@dataclass(frozen=True)
class Crowd:
    """The images of one source."""

    said: Unlabelled
    people: tuple[Person, ...]


@dataclass
class _Found:
    """What one size found, by person."""

    volumes_ml: list[list[float]] = field(default_factory=list)
    against_ml: list[list[float]] = field(default_factory=list)
    like_teacher: list[float] = field(default_factory=list)
    masked: list[np.ndarray] = field(default_factory=list)  # voxels by label
    refused: int = 0


def read_unlabelled(recipe: Recipe, folder: Path) -> list[Crowd]:
    """Find the files of every source that the recipe names; `folder` holds their folders.

    Raises:
        BadCase: a source has no image, or a file that belongs to an image is absent.
    """
    return [_read(one, folder) for one in recipe.unlabelled]


def _read(said: Unlabelled, folder: Path) -> Crowd:
    people = []
    for name, path in images_of(said, folder).items():
        beside = [
            None if place is None else folder / place / f"{name}{ending}"
            for place, ending in (
                (said.against, said.against_ending),
                (said.masks, said.mask_ending),
            )
        ]
        for other in beside:
            if other is not None and not other.is_file():
                message = f"{said.name}: {name} has no {other.name}"
                raise BadCase(message, advice=f"It should be in {other.parent.name}")
        people.append(Person(name, said.subjects.get(name, name), path, *beside))
    return Crowd(said, tuple(people))


def look(package: Package, crowd: Crowd, say: Callable[[str], None]) -> dict[str, Any]:
    """Segment every image with every size; return the report's part about this source.

    Raises:
        NodeError: an image cannot be read, or a network does not fit the manifest.
    """
    sizes: list[str] = list(package.manifest.sizes)
    students = {size: open_student(package, size, 1) for size in sizes}
    found = {size: _Found() for size in sizes}
    for number, person in enumerate(crowd.people, 1):
        _look_at(package, students, person, found)
        say(f"{crowd.said.name}: {number} of {len(crowd.people)}")
    subjects = [person.subject for person in crowd.people]
    return {
        "name": crowd.said.name,
        "note": crowd.said.note,
        "cases": len(crowd.people),
        "subjects": len(set(subjects)),
        "sizes": {size: _told(package, one, subjects) for size, one in found.items()},
    }


def _look_at(
    package: Package, students: dict[str, Student], person: Person, found: dict[str, _Found]
) -> None:
    image = read_volume(person.image)
    other = None if person.against is None else read_volume(person.against)
    mask = None if person.mask is None else read_labels(person.mask).array > 0
    if mask is not None and mask.shape != image.grid.shape:
        message = f"{person.name}: the mask is not on the image's grid"
        raise BadCase(message)
    numbers, theirs = package.manifest.numbers, None
    for size, student in students.items():
        one = found[size]
        labels = segment(image, package, student).labels
        one.volumes_ml.append(list(labels.volumes_ml(numbers).values()))
        one.refused += _is_refused(package, labels)
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


def _is_refused(package: Package, labels: Labels) -> bool:
    try:
        check_result(package.manifest.expect, labels.volumes_ml(package.manifest.numbers))
    except ImplausibleResult:
        return True
    return False


def _told(package: Package, found: _Found, subjects: Sequence[str]) -> dict[str, Any]:
    names = [part.label for part in package.manifest.segments]
    volumes = np.array(found.volumes_ml)
    told: dict[str, Any] = {
        "refused": found.refused,
        "volumes_ml": dict(zip(names, np.median(volumes, 0).tolist(), strict=True)),
    }
    if found.like_teacher:
        told["like_teacher"] = msgspec.to_builtins(interval(found.like_teacher, subjects))
    if found.against_ml:
        told["against"] = _compared(names, volumes, np.array(found.against_ml))
    if found.masked:
        counts = np.sum(found.masked, axis=0)
        shares = counts / max(1, counts.sum())
        ordered = sorted(zip([NOTHING, *names], shares.tolist(), strict=True), key=_by_share)
        told["masked"] = dict(ordered)
    return told


def _by_share(pair: tuple[str, float]) -> float:
    return -pair[1]


def _compared(
    names: Sequence[str], volumes: np.ndarray, others: np.ndarray
) -> dict[str, dict[str, float | None]]:
    """Return, by structure, the median difference in percent and the correlation over people."""
    told: dict[str, dict[str, float | None]] = {}
    for name, mine, theirs in zip(names, volumes.T, others.T, strict=True):
        there = theirs > 0
        percent = 100 * (mine[there] / theirs[there] - 1)
        varies = len(mine) > 2 and mine.std() > 0 and theirs.std() > 0
        told[name] = {
            "percent": float(np.median(percent)) if there.any() else None,
            "correlation": float(np.corrcoef(mine, theirs)[0, 1]) if varies else None,
        }
    return told
