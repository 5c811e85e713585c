"""The accuracy and the cost of a package, measured through the pipeline that the hospital runs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np

from kd.data.cases import Pair
from kd.data.ids import LEFT_OUT
from kd.errors import BadCase, KdError
from kd.evaluation.intervals import interval
from kd.evaluation.measure import agreement
from kd.evaluation.negatives import positives
from kd.evaluation.scores import Score, subjects_of
from kd.evaluation.summary import accuracy, paired
from kd.recipe.read import TEACHER
from kd.records import ComparedAccuracy, Cost
from node.footprint import FootprintRequest, measure_and_wait
from node.package import Package
from node.package.manifest import Segment, SizeName
from node.pipeline import open_student, segment
from node.process import Failed, ProcessLimits
from node.student import Student


@dataclass(frozen=True)
class Validation:
    """Scores and costs of the sizes of one package."""

    scores: dict[SizeName, list[Score]]
    costs: dict[SizeName, Cost]

    def dice_gaps(self, size: SizeName) -> list[float]:
        """Return each case's mean Dice of `size` minus the teacher's."""
        pairs = zip(self.scores[size], self.scores[TEACHER], strict=True)
        return [mine.mean("dice") - theirs.mean("dice") for mine, theirs in pairs]

    def gaps(self) -> dict[SizeName, list[float]]:
        """Return `dice_gaps` of every student."""
        return {size: self.dice_gaps(size) for size in self.scores if size != TEACHER}


def score_all(
    package: Package,
    pairs: Sequence[Pair],
    sizes: Sequence[SizeName],
    *,
    segments: Sequence[Segment] | None = None,
    threads: int = 1,
    say: Callable[[str], None] = lambda _: None,
) -> dict[SizeName, list[Score]]:
    """Segment each pair with each size and compare with its labels on the image's own grid.

    Negative cases are left out (`kd.evaluation.negatives`). Only `segments` are scored, by default
    all of the package: a reference may have fewer. Give `report_of` and `rows` a manifest of the
    same ones.

    Raises:
        BadPackage: a network does not fit the manifest.
        BadCase: a structure is labelled in no case.
    """
    scored, pairs = segments or package.manifest.segments, positives(pairs)
    if not pairs:
        message = "no case has a labelled voxel: there is nothing to measure"
        raise BadCase(message, advice="Add cases that show the structures")
    for part in scored:
        if all(part.number in pair.unknown for pair in pairs):
            message = f"{part.label} is labelled in none of the {len(pairs)} cases"
            raise BadCase(message, advice="Add cases in which it is labelled")
    scores = {}
    for size in sizes:
        student = open_student(package, size, threads)
        scores[size] = [_score(package, student, pair, scored) for pair in pairs]
        mean = interval([s.mean("dice") for s in scores[size]], subjects_of(scores[size]))
        say(f"{size}: mean Dice {mean.words()}")
    return scores


def compare(
    package: Package,
    size: SizeName,
    pairs: Sequence[Pair],
    released: Validation,
    segments: Sequence[Segment] | None = None,
) -> tuple[ComparedAccuracy, list[Score]]:
    """Measure another network of `size` on the cases of `released`, on the same `segments`.

    Returns:
        Its accuracy beside the released network of that size, and the scores of its cases.
    """
    student = open_student(package, size, threads=1)
    scored = segments or package.manifest.segments
    scores = [_score(package, student, pair, scored) for pair in positives(pairs)]
    measured = accuracy(scores, [part.label for part in scored], released.scores.get(TEACHER))
    gap = paired(released.scores[size], scores)
    return ComparedAccuracy(**msgspec.structs.asdict(measured), released_minus_this=gap), scores


def costs(package: Package, sizes: Sequence[SizeName], threads: int = 1) -> dict[SizeName, Cost]:
    """Measure each size in a fresh process, which has loaded neither torch nor any other case.

    Raises:
        KdError: a process failed.
    """
    return {size: _cost(package, size, threads) for size in sizes}


def _cost(package: Package, size: SizeName, threads: int) -> Cost:
    limits = ProcessLimits(threads=threads, log_level="WARNING")
    request = FootprintRequest(folder=str(package.folder), size=size, is_draft=True, limits=limits)
    answer = measure_and_wait(request)
    if isinstance(answer, Failed):
        message = f"the cost of size {size} could not be measured: {answer.message}"
        raise KdError(message, advice=answer.advice)
    return Cost(seconds=answer.seconds, threads=threads, peak_mb=answer.peak_mb)


def _score(package: Package, student: Student, pair: Pair, segments: Sequence[Segment]) -> Score:
    result = segment(pair.image, package, student)
    truth = pair.labels.array
    labels = np.where(truth == LEFT_OUT, LEFT_OUT, result.labels.array)
    structures = tuple(
        agreement(labels == part.number, truth == part.number, pair.labels.grid)
        if part.number not in pair.unknown
        else None
        for part in segments
    )
    return Score(pair.name, structures, sum(result.seconds.values()), pair.subject)
