"""The accuracy of a run on a held-out fold of the training cases: for choosing, not for reporting.

Choices that a recipe leaves open are made on one fold of the training cases, so that the test cases
stay held out until the release. Plain torch on the model's grid, without mirroring and regions;
reported numbers come from `kd.evaluation.validate` alone, through the node's pipeline.
"""

import math
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from kd.data.cases import prepare, read_pairs
from kd.data.soft_targets import soft_map
from kd.errors import BadRecord, BadSplit
from kd.evaluation.intervals import interval
from kd.evaluation.negatives import detected, summary
from kd.recipe.read import Recipe
from kd.records import NegativeCases
from kd.training.runs import open_run
from kd.training.steps import held_out
from kd.training.trainer import pick_device
from node.package.manifest import Interval
from node.pipeline import dice

SCORE_FILE = "score_fold_{}.json"  # in the folder of the run


@dataclass(frozen=True)
class FoldScore:
    """Dice of one run on the cases of one fold."""

    cases: int
    dice: Interval  # mean over structures, interval over subjects
    per_structure: dict[str, float]
    negatives: NegativeCases | None = None  # the fold's cases without a structure, if any
    step: int = 0  # of the weights; 0: an imported network


def score(
    recipe: Recipe, folder: Path, size: str, run: Path, fold: int, *, device: str = "auto"
) -> FoldScore:
    """Measure the finished or interrupted run of one size on the cases of `fold`.

    `run` is its folder, or `best.pt` in it, which was chosen on patches of such cases: its result
    is slightly too good.

    Raises:
        BadSplit: there is no such fold, or the run, or its teacher, was trained on a case of it.
        KdError: the run has no checkpoint, or a case cannot be read.
    """
    names = held_out(recipe, folder, fold)
    on = pick_device(device)
    network, record = open_run(recipe, size, run, on)
    if used := record.not_held_out(names):
        who = f"run {run.name}, or one of its ancestors,"
        message = f"{who} was trained on case {used[0]} and {len(used) - 1} more of fold {fold}"
        advice = f"Train it with --without-fold {fold}, and its teacher too, or name its own fold"
        raise BadSplit(message, advice=advice)
    augment = msgspec.structs.replace(recipe.augment, mirror_left=False)
    plain = msgspec.structs.replace(recipe, augment=augment)
    rows, subjects, detections = [], [], []
    for pair in read_pairs(recipe, folder, names):
        case = prepare(recipe, pair)
        labels = soft_map(case, [network], plain, on).argmax(0).astype(np.uint8)
        if pair.is_negative:
            detections.append(detected(labels, case.image.grid, case.unknown))
            continue
        subjects.append(pair.subject)
        rows.append(
            [
                dice(labels == part.number, case.labels.array == part.number)
                if part.number not in case.unknown
                else math.nan
                for part in recipe.segments
            ]
        )
    if not rows:
        message = f"no case of fold {fold} has a labelled voxel: there is nothing to score"
        raise BadSplit(message, advice="Score another fold")
    table = np.array(rows)
    return FoldScore(
        cases=len(table),
        step=record.step,
        dice=interval(np.nanmean(table, 1).tolist(), subjects),
        per_structure={
            part.label: float(mean)
            for part, mean in zip(recipe.segments, np.nanmean(table, 0), strict=True)
        },
        negatives=summary(detections) if detections else None,
    )


def write_score(measured: FoldScore, run: Path, fold: int) -> None:
    """Keep a score beside the run, for `kd report`."""
    content = msgspec.json.format(msgspec.json.encode(measured))
    (run / SCORE_FILE.format(fold)).write_bytes(content + b"\n")


def read_scores(run: Path) -> dict[int, FoldScore]:
    """Return the scores that were kept beside a run, by fold.

    Raises:
        BadRecord: a file is damaged.
    """
    scores = {}
    for path in sorted(run.glob(SCORE_FILE.format("*"))):
        try:
            measured = msgspec.json.decode(path.read_bytes(), type=FoldScore)
        except msgspec.MsgspecError as exc:
            message = f"{run.name}/{path.name} cannot be read"
            raise BadRecord(message, advice="Run kd score again") from exc
        scores[int(path.stem.rsplit("_", 1)[-1])] = measured
    return scores
