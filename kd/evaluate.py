"""How well a package segments labelled cases, through the pipeline that the hospital runs."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from kd.cases import Pair
from kd.errors import LabError
from kd.intervals import interval
from node.package import Package
from node.package.manifest import Metrics
from node.pipeline import dice, open_student, segment


@dataclass(frozen=True)
class Score:
    """One case, one size."""

    case: str
    dice: tuple[float, ...]  # of each segment, in the manifest's order
    seconds: float  # from volume to labels

    @property
    def mean_dice(self) -> float:
        """Mean over the segments."""
        return sum(self.dice) / len(self.dice)


def evaluate(
    package: Package,
    size: str,
    pairs: Iterable[Pair],
    *,
    threads: int = 0,
    report: Callable[[Score], None] = lambda _: None,
) -> list[Score]:
    """Segment each pair's image and compare with its labels on the image's own grid."""
    student = open_student(package, size, threads)
    scores = []
    for pair in pairs:
        result = segment(pair.image, package, student)
        found, truth = result.labels.array, pair.labels.array
        overlap = tuple(dice(found == n, truth == n) for n in package.manifest.numbers)
        score = Score(pair.name, overlap, sum(result.seconds.values()))
        scores.append(score)
        report(score)
    return scores


def summarise(package: Package, scores: list[Score]) -> Metrics:
    """Return the manifest's metrics of one size."""
    labels = [segment.label for segment in package.manifest.segments]
    return Metrics(
        cases=len(scores),
        dice=interval([s.mean_dice for s in scores]),
        dice_per_segment={
            label: interval([s.dice[i] for s in scores]) for i, label in enumerate(labels)
        },
    )


@dataclass(frozen=True)
class Footprint:
    """What one size costs on this machine, on the golden case, with one process of its own."""

    seconds: float  # of one segmentation, the model already loaded; median of several
    peak_mb: float  # largest resident memory of the process, interpreter included
    threads: int


def footprint(package: Package, size: str, threads: int = 1) -> Footprint:
    """Measure in a fresh process, which has loaded neither torch nor any other case.

    Raises:
        LabError: the process failed.
    """
    command = [sys.executable, "-m", "kd.footprint", str(package.folder), size, str(threads)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        message = f"size {size} could not be measured: {done.stderr.strip()[-200:]}"
        raise LabError(message)
    measured = json.loads(done.stdout)
    return Footprint(measured["seconds"], measured["peak_mb"], threads)
