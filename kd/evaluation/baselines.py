"""Which runs are compared to say what distillation is worth, and what the comparison says.

Promises: a distilled run and its undistilled twin differ in the teacher alone, and in the channels
that only a student with a teacher can inherit.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from kd.evaluation.validate import MEASURES, Score, paired
from kd.training.tasks import agree, lineage

CHOICES = ("names", "training", "generator", "augment", "partial")  # the same for both
WITHOUT_EFFECT = ("checkpoint_every_s",)  # on what is learnt


def twins(
    report: dict[str, Any],
    scores: dict[str, list[Score]],
    stories: Mapping[str, Sequence[dict[str, Any]]],
) -> list[dict[str, Any]]:
    """Pair each distilled run with its undistilled twin, and measure what is between them.

    Args:
        report: tells of the training of each run, by name.
        scores: of each run, on the same cases in the same order.
        stories: of the networks of each run.
    """
    runs = {name: (name, said["training"]) for name, said in report["sizes"].items()}
    runs |= {name: (said["size"], said["training"]) for name, said in report["compared"].items()}
    found = []
    for name, (size, told) in runs.items():
        if not told["distilled"]:
            continue
        for other, (other_size, other_told) in runs.items():
            if size != other_size or other_told["distilled"]:
                continue
            if is_twin(stories[name], stories[other]):
                gaps = {m: paired(scores[name], scores[other], m) for m in MEASURES}
                found.append({"distilled": name, "undistilled": other, "size": size} | gaps)
    return found


def is_twin(mine: Sequence[dict[str, Any]], other: Sequence[dict[str, Any]]) -> bool:
    """Tell whether two runs, of as many networks each, were trained alike but for the teacher.

    So were then, step by step, the runs that they started from: same seed, budget, cases and
    choices.
    """
    lines = [[line for story in stories for line in lineage(story)] for stories in (mine, other)]
    if len(mine) != len(other) or len(lines[0]) != len(lines[1]):
        return False
    return all(
        agree(a["choices"].get(key), b["choices"].get(key), WITHOUT_EFFECT)
        for a, b in zip(*lines, strict=True)
        for key in CHOICES
    )
