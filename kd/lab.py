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
from kd.network import Ensemble, UNet
from kd.oriented import Oriented, read_foreign
from kd.recipe import TEACHER, Recipe
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

SOFT = "soft"  # folder of the teacher's maps, beside the runs of its folds

Report = Callable[[Progress], None]
Say = Callable[[str], None]


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
    batches = Batches(cases, recipe.training_patch_zyx, recipe.training, device, soft=soft)
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
    if recipe.folds == 1:
        message = "there is no fold to hold out: the recipe has folds: 1"
        raise BadSplit(message, advice="Give the recipe two folds or more")
    return _fold(recipe, folder, fold)


def teach_fold(
    recipe: Recipe, folder: Path, runs: Path, number: int, *, here: Slice, report: Report
) -> Outcome:
    """Train one fold of the teacher; resume where it has a checkpoint.

    Raises:
        BadSplit: there is no such fold.
        LabError: of the case, split, recipe or checkpoint that is wrong.
    """
    held = _fold(recipe, folder, number)
    names = names_of(recipe, folder, recipe.data.train)
    lesson = Lesson(recipe.fold_size, tuple(name for name in names if name not in held))
    return study(recipe, folder, lesson, fold_run(runs, number), here=here, report=report)


def teach(
    recipe: Recipe,
    folder: Path,
    runs: Path,
    *,
    here: Slice,
    report_of: Callable[[int], Report] = lambda _: lambda _: None,
    say: Say = lambda _: None,
) -> bool:
    """Train every fold of the teacher, then write its maps of the training cases.

    A limit of time in `here` holds for each fold. Folds that are finished are not trained again.

    Args:
        recipe: all choices.
        folder: the data set.
        runs: one folder per fold is written in it, and the folder of the maps.
        here: where this call runs, and when it stops before a fold's budget is spent.
        report_of: gives each fold, by number, the function that is called every few steps.
        say: called with a sentence as maps are written.

    Returns:
        Whether everything is finished; if not, the same call goes on.

    Raises:
        LabError: of the case, split, recipe or checkpoint that is wrong.
    """
    names = names_of(recipe, folder, recipe.data.train)
    imported = _imported_folds(runs)
    parts = imported or fold_names(recipe, folder)
    for number in range(0 if imported else len(parts)):
        report = report_of(number)
        if not teach_fold(recipe, folder, runs, number, here=here, report=report).finished:
            return False
    device = pick_device(here.device)
    teachers = [
        open_run(recipe, recipe.fold_size, fold_run(runs, number), device)[0]
        for number in range(len(parts))
    ]

    def teachers_of(name: str) -> list[nn.Module]:
        unseen = [t for t, held in zip(teachers, parts, strict=True) if name in held]
        return unseen or teachers  # one fold alone has seen every case

    known = {name for held in parts for name in held}
    if seen := [name for name in names if name not in known] if len(parts) > 1 else []:
        say(f"{len(seen)} cases, such as {seen[0]}, were seen by every fold: their maps are surer")
    cases = read_cases(recipe, folder, names)
    write_maps(cases, teachers_of, recipe, device, runs / SOFT, say=say)
    return True


def soften(
    recipe: Recipe,
    folder: Path,
    lesson: Lesson,
    runs: Sequence[Path],
    *,
    here: Slice,
    say: Say = lambda _: None,
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
    return write_maps(cases, lambda _: teachers, recipe, device, lesson.soft, say=say)


def fold_names(recipe: Recipe, folder: Path) -> tuple[tuple[str, ...], ...]:
    """Return the cases that each fold of the teacher does not see; none for a single teacher.

    Raises:
        BadSplit: fewer subjects than folds, or the split file is wrong.
    """
    if recipe.folds == 1:
        return ((),)
    names = names_of(recipe, folder, recipe.data.train)
    return folds(names, recipe.folds, subjects_of(recipe, folder))


def _fold(recipe: Recipe, folder: Path, number: int) -> tuple[str, ...]:
    parts = fold_names(recipe, folder)
    if not 0 <= number < len(parts):
        message = f"there is no fold {number}: the recipe has folds: {recipe.folds}"
        raise BadSplit(message, advice="Folds are numbered from 0")
    return parts[number]


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


def open_runs(
    recipe: Recipe, size: str, runs: Sequence[Path], device: torch.device
) -> tuple[nn.Module, list[dict[str, Any]]]:
    """Return the network of one run, or the ensemble of several, and the story of each.

    Raises:
        LabError: there is no checkpoint, or it does not fit.
    """
    opened = [open_run(recipe, size, run, device) for run in runs]
    networks, stories = [network for network, _ in opened], [story for _, story in opened]
    return (networks[0] if len(networks) == 1 else Ensemble(networks).eval()), stories


def released_runs(recipe: Recipe, runs: Path, size: str) -> tuple[Path, ...]:
    """Return the folders of what is released as one size: one run, or the teacher's folds."""
    if size == TEACHER and recipe.released_teacher == "ensemble":
        return tuple(fold_run(runs, number) for number in range(recipe.folds))
    # a teacher of one fold is released as it is
    is_only_fold = size == TEACHER and recipe.folds == 1 and not (runs / size).exists()
    return (fold_run(runs, 0) if is_only_fold else runs / size,)


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
