"""Distilled runs and their baselines: which runs form a pair, and how far they are apart.

Promises: a distilled run and its baseline differ in the teacher alone, and in the channels that
only a student with a teacher can inherit.
"""

from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from kd.evaluation.scores import Score
from kd.evaluation.summary import differences
from kd.recipe.choices import Augment, Generator
from kd.records import BaselineComparison, Choices, Report, Run, TrainingReport
from node.package.manifest import SizeName


def baselines(
    report: Report,
    scores: Mapping[str, list[Score]],
    histories: Mapping[str, Sequence[Run]],
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
    comparisons = []
    for name, (size, training) in runs.items():
        if training is None or not training.distilled:
            continue
        for other, (other_size, other_training) in runs.items():
            if size != other_size or other_training is None or other_training.distilled:
                continue
            if is_baseline(histories[name], histories[other]):
                gaps = differences(scores[name], scores[other])
                comparisons.append(
                    BaselineComparison(
                        distilled=name,
                        baseline=other,
                        size=size,
                        dice=gaps.dice,
                        nsd=gaps.nsd,
                        hd95_mm=gaps.hd95_mm,
                    )
                )
    return tuple(comparisons)


def is_baseline(mine: Sequence[Run], other: Sequence[Run]) -> bool:
    """Return whether two runs, of as many networks each, differ in the teacher alone.

    The same must hold for every ancestor run: same seed, budget, cases and choices.
    """
    lines = [[one for run in side for one in run.lineage] for side in (mine, other)]
    if len(mine) != len(other) or len(lines[0]) != len(lines[1]):
        return False
    return all(_are_alike(a, b) for a, b in zip(*lines, strict=True))


def _are_alike(a: Run, b: Run) -> bool:
    """Return whether two runs had the same cases and choices, apart from the teacher."""
    if a.choices is None or b.choices is None:
        return a.choices is b.choices and a.cases == b.cases
    # how often a checkpoint is written does not change the weights
    every = a.choices.training.checkpoint_every_s
    training = replace(b.choices.training, checkpoint_every_s=every)
    return (a.cases, a.choices.training, *_views(a.choices)) == (
        b.cases,
        training,
        *_views(b.choices),
    )


def _views(choices: Choices) -> tuple[Generator | None, Augment, tuple[int, ...]]:
    """Return the choices that decide what the network is shown."""
    return choices.generator, choices.augment, choices.partial
