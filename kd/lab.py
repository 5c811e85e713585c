"""What the commands do, as functions: recipe and folders in, results out, no printing."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import torch
from torch import nn

from kd.batches import Batches
from kd.cases import folds, names_of, read_cases, subjects_of
from kd.errors import BadSplit, BadTeacher
from kd.losses import distilled
from kd.network import UNet
from kd.oriented import Oriented, read_foreign
from kd.recipe import Recipe
from kd.soft import maps_digest, read_maps, write_maps
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


def study(
    recipe: Recipe, folder: Path, lesson: Lesson, run: Path, *, here: Slice, report: Report
) -> Outcome:
    """Train one network; resume where `run` has a checkpoint.

    Args:
        recipe: all choices; change its `training` for another budget or seed.
        folder: the data set.
        lesson: which size, on which cases, and whether it learns from a teacher's maps too.
        run: folder of the checkpoint.
        here: where this call runs, and when it stops before the budget is spent.
        report: called every few steps.

    Raises:
        BadTeacher: a map is missing or does not fit its case.
        LabError: of the case, split, recipe or checkpoint that is wrong.
    """
    device = pick_device(here.device)
    cases = read_cases(recipe, folder, lesson.names)
    objective: Objective = labels_only
    soft, teacher = None, None
    if lesson.soft is not None:
        soft = read_maps(cases, recipe.n_classes, lesson.soft)
        teacher = maps_digest(cases, lesson.soft)
        objective = distilled(recipe.distillation)
    batches = Batches(cases, recipe.grid.patch_zyx, recipe.training, device, soft=soft)
    network, choice = new_network(recipe, lesson.size), recipe.training_of(lesson.size)
    bound = identity(recipe, lesson, teacher)
    trainer = Trainer(network, choice, recipe.augment, bound, device)
    return trainer.run(batches, run, objective=objective, report=report, limits=here)


def lesson_names(recipe: Recipe, folder: Path, without_fold: int | None) -> tuple[str, ...]:
    """Return the training cases, on request without those of one fold: they can then judge.

    Raises:
        BadSplit: there is no such fold or split.
    """
    names = names_of(recipe, folder, recipe.data.train)
    if without_fold is None:
        return names
    held = held_out(recipe, folder, without_fold)
    return tuple(name for name in names if name not in held)


def held_out(recipe: Recipe, folder: Path, fold: int) -> tuple[str, ...]:
    """Return the cases of one fold, numbered from 0.

    Raises:
        BadSplit: there is no such fold, or the split file is wrong.
    """
    if recipe.folds == 1 or not 0 <= fold < recipe.folds:
        message = f"there is no fold {fold}: the recipe has folds: {recipe.folds}"
        raise BadSplit(message, advice="Folds are numbered from 0; a recipe of one fold has none")
    return fold_names(recipe, folder)[fold]


def teach(recipe: Recipe, folder: Path, runs: Path, *, here: Slice, report: Report) -> bool:
    """Train every fold of the teacher, then write its maps of the training cases.

    A limit of time in `here` holds for each fold. Folds that are finished are not trained again.

    Returns:
        Whether everything is finished; if not, the same call goes on.

    Raises:
        LabError: of the case, split, recipe or checkpoint that is wrong.
    """
    names = names_of(recipe, folder, recipe.data.train)
    imported = _imported_folds(runs)
    parts = imported or fold_names(recipe, folder)
    for number, held in enumerate(() if imported else parts):
        chosen = tuple(name for name in names if name not in held)
        lesson = Lesson(recipe.fold_size, chosen)
        run = fold_run(runs, number)
        if not study(recipe, folder, lesson, run, here=here, report=report).finished:
            return False
    device = pick_device(here.device)
    teachers = [
        open_run(recipe, recipe.fold_size, fold_run(runs, number), device)[0]
        for number in range(len(parts))
    ]

    def teachers_of(name: str) -> list[nn.Module]:
        unseen = [t for t, held in zip(teachers, parts, strict=True) if name in held]
        return unseen or teachers  # one fold alone has seen every case

    write_maps(read_cases(recipe, folder, names), teachers_of, recipe, device, runs / SOFT)
    return True


def soften(
    recipe: Recipe, folder: Path, lesson: Lesson, runs: Sequence[Path], *, here: Slice
) -> int:
    """Write the maps of finished runs of one size to `lesson.soft`; return how many were missing.

    Several runs are averaged. This is one rung of a ladder: a large student teaches a smaller one.

    Raises:
        LabError: of the case or checkpoint that is wrong.
    """
    assert lesson.soft is not None  # what this is for
    device = pick_device(here.device)
    teachers = [open_run(recipe, lesson.size, run, device)[0] for run in runs]
    cases = read_cases(recipe, folder, lesson.names)
    return write_maps(cases, lambda _: teachers, recipe, device, lesson.soft)


def fold_names(recipe: Recipe, folder: Path) -> tuple[tuple[str, ...], ...]:
    """Return the cases that each fold of the teacher does not see; none for a single teacher.

    Raises:
        BadSplit: fewer subjects than folds, or the split file is wrong.
    """
    if recipe.folds == 1:
        return ((),)
    names = names_of(recipe, folder, recipe.data.train)
    return folds(names, recipe.folds, subjects_of(recipe, folder))


def fold_run(runs: Path, number: int) -> Path:
    """Return the folder of one fold of the teacher."""
    return runs / f"teacher_{number}"


def new_network(recipe: Recipe, size: str) -> UNet:
    """Return an untrained network of one size, the same for the same seed."""
    with seeded(recipe.training.seed):
        return UNet(recipe.topology(size), recipe.n_classes)


def open_run(
    recipe: Recipe, size: str, run: Path, device: torch.device
) -> tuple[nn.Module, dict[str, Any]]:
    """Return the finished network of a run, ours or imported, and the run's story.

    Raises:
        LabError: there is no checkpoint, or it does not fit.
    """
    foreign = read_foreign(run)
    if foreign is None:
        return averaged_network(new_network(recipe, size), run, device)
    if foreign.n_classes != recipe.n_classes:
        message = f"run {run.name} knows {foreign.n_classes} classes, the recipe {recipe.n_classes}"
        raise BadTeacher(message)
    network, story = averaged_network(UNet(foreign.topology, foreign.n_classes), run, device)
    return Oriented(network, foreign.axes).to(device).eval(), story


def _imported_folds(runs: Path) -> tuple[tuple[str, ...], ...]:
    """Return what each imported fold has not seen; nothing if the teacher is trained here."""
    found: list[tuple[str, ...]] = []
    while (foreign := read_foreign(fold_run(runs, len(found)))) is not None:
        found.append(foreign.held)
    return tuple(found)


def identity(recipe: Recipe, lesson: Lesson, teacher: str | None = None) -> str:
    """Return what a checkpoint is bound to: every choice that changes this training.

    Texts for the card, metadata of the package and other sizes may change without harm; `teacher`
    is the digest of the maps that a student listens to.
    """
    choices = binding(recipe, lesson.size) | {
        "names": lesson.names,
        "distillation": None if lesson.soft is None else recipe.distillation,
        "teacher": teacher,
    }
    return msgspec.json.encode(choices).decode()


def binding(recipe: Recipe, size: str) -> dict[str, Any]:
    """Return what a recipe says of the training of one size, as plain values."""
    choices = {
        "size": size,
        "topology": recipe.topology(size),
        "n_classes": recipe.n_classes,
        "grid": recipe.grid,
        "intensity": recipe.intensity,
        "training": recipe.training_of(size),
        "augment": recipe.augment,
    }
    plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(choices))
    return plain
