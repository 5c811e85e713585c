"""Distilled runs and their baselines: which runs form a pair, and how far they are apart.

Promises: a distilled run and its baseline differ in the teacher alone, and in the channels that
only a student with a teacher can inherit.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from kd.evaluation.scores import Score
from kd.evaluation.summary import differences
from kd.records import BaselineComparison, Report, TrainingReport
from kd.training.tasks import agree, lineage
from node.package.manifest import SizeName

CHOICES = ("names", "training", "generator", "augment", "partial")  # the same for both
WITHOUT_EFFECT = ("checkpoint_every_s",)  # on the weights


def baselines(
    report: Report,
    scores: Mapping[str, list[Score]],
    histories: Mapping[str, Sequence[dict[str, Any]]],
) -> tuple[BaselineComparison, ...]:
    """Pair each distilled run with its baselines, and measure the difference.

    Args:
        report: has the training of each run, by name.
        scores: of each run, on the same cases in the same order.
        histories: of the networks of each run.
    """
    runs: dict[str, tuple[SizeName, TrainingReport | None]] = {
        name: (name, one.training) for name, one in report.sizes.items()
    }
    runs |= {name: (one.size, one.training) for name, one in report.compared.items()}
    found = []
    for name, (size, training) in runs.items():
        if training is None or not training.distilled:
            continue
        for other, (other_size, other_training) in runs.items():
            if size != other_size or other_training is None or other_training.distilled:
                continue
            if is_baseline(histories[name], histories[other]):
                gaps = differences(scores[name], scores[other])
                found.append(
                    BaselineComparison(
                        distilled=name,
                        baseline=other,
                        size=size,
                        dice=gaps.dice,
                        nsd=gaps.nsd,
                        hd95_mm=gaps.hd95_mm,
                    )
                )
    return tuple(found)


def is_baseline(mine: Sequence[dict[str, Any]], other: Sequence[dict[str, Any]]) -> bool:
    """Return whether two runs, of as many networks each, differ in the teacher alone.

    The same must hold for every ancestor run: same seed, budget, cases and choices.
    """
    lines = [[one for history in side for one in lineage(history)] for side in (mine, other)]
    if len(mine) != len(other) or len(lines[0]) != len(lines[1]):
        return False
    return all(
        agree(a["choices"].get(key), b["choices"].get(key), WITHOUT_EFFECT)
        for a, b in zip(*lines, strict=True)
        for key in CHOICES
    )
