"""What the commands do, as functions: recipe and folders in, results out, no printing."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from kd.batches import Batches
from kd.cases import folds, names_of, read_cases
from kd.errors import BadSplit
from kd.losses import distilled
from kd.network import UNet
from kd.recipe import Recipe
from kd.soft import read_maps, write_maps
from kd.train import (
    Objective,
    Outcome,
    Progress,
    Slice,
    Trainer,
    averaged_network,
    labels_only,
    pick_device,
    seeded,
)

TEACHER = "teacher"
SOFT = "soft"  # folder of the teacher's maps, beside the runs of its folds

Report = Callable[[Progress], None]


@dataclass(frozen=True)
class Lesson:
    """What one network is taught: which size, on which cases, from whom."""

    size: str
    names: tuple[str, ...]
    soft: Path | None = None  # folder of the teacher's maps; None: reference labels alone


def train_size(
    recipe: Recipe, folder: Path, size: str, run: Path, *, here: Slice, report: Report
) -> Outcome:
    """Train one size on reference labels alone; resume where `run` has a checkpoint.

    Args:
        recipe: all choices; change its `training` for another budget or seed.
        folder: the data set.
        size: which of the recipe's sizes.
        run: folder of the checkpoint.
        here: where this call runs, and when it stops before the budget is spent.
        report: called every few steps.

    Raises:
        LabError: of the case, split, recipe or checkpoint that is wrong.
    """
    names = names_of(recipe, folder, recipe.data.train)
    return _study(recipe, folder, Lesson(size, names), run, here, report)


def teach(recipe: Recipe, folder: Path, runs: Path, *, here: Slice, report: Report) -> bool:
    """Train every fold of the teacher, then write its maps of the training cases.

    A limit of time in `here` holds for each fold. Folds that are finished are not trained again.

    Returns:
        Whether everything is finished; if not, the same call goes on.

    Raises:
        LabError: of the case, split, recipe or checkpoint that is wrong.
    """
    names = names_of(recipe, folder, recipe.data.train)
    parts = fold_names(recipe, names)
    for number, held in enumerate(parts):
        chosen = tuple(name for name in names if name not in held)
        lesson = Lesson(TEACHER, chosen)
        if not _study(recipe, folder, lesson, fold_run(runs, number), here, report).finished:
            return False
    device = pick_device(here.device)
    teachers = [
        averaged_network(new_network(recipe, TEACHER), fold_run(runs, number), device)[0]
        for number in range(len(parts))
    ]

    def teachers_of(name: str) -> list[UNet]:
        unseen = [t for t, held in zip(teachers, parts, strict=True) if name in held]
        return unseen or teachers  # one fold alone has seen every case

    write_maps(read_cases(recipe, folder, names), teachers_of, recipe.grid, device, runs / SOFT)
    return True


def distill(
    recipe: Recipe, folder: Path, lesson: Lesson, run: Path, *, here: Slice, report: Report
) -> Outcome:
    """Train one student on reference labels and on the teacher's maps in `lesson.soft`.

    Raises:
        BadTeacher: a map is missing or does not fit its case.
        LabError: of the case, split, recipe or checkpoint that is wrong.
    """
    return _study(recipe, folder, lesson, run, here, report)


def fold_names(recipe: Recipe, names: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    """Return the cases that each fold of the teacher does not see; none for a single teacher.

    Raises:
        BadSplit: fewer cases than folds.
    """
    if recipe.folds == 1:
        return ((),)
    if len(names) < recipe.folds:
        message = f"{len(names)} training cases cannot be dealt into {recipe.folds} folds"
        raise BadSplit(message)
    return folds(names, recipe.folds, recipe.training.seed)


def fold_run(runs: Path, number: int) -> Path:
    """Return the folder of one fold of the teacher."""
    return runs / f"teacher_{number}"


def new_network(recipe: Recipe, size: str) -> UNet:
    """Return an untrained network of one size, the same for the same seed."""
    with seeded(recipe.training.seed):
        return UNet(recipe.topology(size), recipe.n_classes)


def identity(recipe: Recipe, lesson: Lesson) -> str:
    """Return what a checkpoint is bound to: every choice that changes this training.

    Texts for the card, metadata of the package and other sizes may change without harm.
    """
    choices = (
        recipe.topology(lesson.size),
        recipe.n_classes,
        recipe.grid,
        recipe.intensity,
        recipe.training_of(lesson.size),
        recipe.augment,
        lesson.names,
        None if lesson.soft is None else recipe.distillation,
    )
    return msgspec.json.encode(choices).decode()


def _study(
    recipe: Recipe, folder: Path, lesson: Lesson, run: Path, here: Slice, report: Report
) -> Outcome:
    device = pick_device(here.device)
    cases = read_cases(recipe, folder, lesson.names)
    objective: Objective = labels_only
    soft = None
    if lesson.soft is not None:
        soft = read_maps(cases, recipe.n_classes, lesson.soft)
        objective = distilled(recipe.distillation)
    batches = Batches(cases, recipe.grid.patch_zyx, recipe.training, device, soft=soft)
    network, choice = new_network(recipe, lesson.size), recipe.training_of(lesson.size)
    trainer = Trainer(network, choice, recipe.augment, identity(recipe, lesson), device)
    return trainer.run(batches, run, objective=objective, report=report, limits=here)
