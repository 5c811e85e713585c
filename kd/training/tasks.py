"""What one network is taught: on which cases, from whom, and what its checkpoint is bound to."""

import hashlib
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import torch

from kd.data.batches import Batches, DistillationBatches, Source, SyntheticBatches
from kd.data.cases import read_anatomy, read_cases
from kd.data.soft_targets import makers_have_seen, maps_digest, read_maps, weights_digest
from kd.errors import BadCheckpoint, BadTeacher
from kd.networks.inherit import inherit
from kd.networks.unet import UNet
from kd.recipe.read import Recipe
from kd.training.runs import fold_run, open_run
from kd.training.trainer import averaged_network, is_finished

SOFT = "soft"  # folder of the teacher's maps, beside the runs of its folds


@dataclass(frozen=True)
class TrainingTask:
    """What one network is taught: which size, on which cases, from whom."""

    size: str
    names: tuple[str, ...]
    soft: Path | None = None  # folder of the teacher's maps; None: reference labels alone
    # runs that are asked at every step instead, where images are drawn and no map can be kept
    teachers: tuple[Path, ...] = ()
    start: Path | None = None  # run whose weights it begins with; None: drawn ones
    ancestor: Path | None = None  # run of a wider network, whose strongest channels it begins with

    @property
    def is_distilled(self) -> bool:
        """Whether a teacher speaks in it."""
        return self.soft is not None or bool(self.teachers)


@dataclass(frozen=True)
class TeacherSignal:
    """The teacher that speaks in a task."""

    digest: str  # of its maps or weights
    has_seen: tuple[str, ...] | None  # cases; None: its maps are older than the record of them


def student_task(
    recipe: Recipe,
    size: str,
    names: tuple[str, ...],
    runs: Path | None,
    soft: Path | None,
    *,
    without_fold: int | None = None,
) -> TrainingTask:
    """Return the task of a student: from the folds in `runs`, or from the maps in `soft`.

    Of a student that is to be judged on a fold, only the teacher's network without that fold may
    know more than it.

    Raises:
        BadTeacher: there can be no maps where images are drawn, or no network to inherit from, or
            the maps are of networks that have seen the fold.
    """
    fold = without_fold
    if fold is not None and soft is None and recipe.generator is None:
        assert runs is not None  # the command has asked for one
        alone = f"--size {recipe.fold_size} --run {fold_run(runs, fold)} --soft FOLDER"
        message = f"the soft targets in {runs.name} are by networks that have seen fold {fold}"
        advice = f"Type kd soften with {alone}, then give --soft FOLDER"
        if recipe.net(size).inherits:
            advice += " to kd family, beside --runs"
        raise BadTeacher(message, advice=advice)
    ancestor = None
    if recipe.net(size).inherits:
        if runs is None:
            message = f"size {size} inherits from the teacher's network, which no map has"
            raise BadTeacher(message, advice="Give --runs, the folder of the teacher's folds")
        ancestor = fold_run(runs, fold or 0)
    if recipe.generator is None:
        assert soft is not None or runs is not None  # the command has asked for one
        return TrainingTask(size, names, soft or Path(runs or "", SOFT), ancestor=ancestor)
    if runs is None:
        message = "images of this recipe are drawn: there are no soft targets to read"
        raise BadTeacher(message, advice="Give --runs, the folder of the teacher's folds")
    speaks = range(recipe.folds) if fold is None else (fold,)
    teachers = tuple(fold_run(runs, n) for n in speaks)
    return TrainingTask(size, names, teachers=teachers, ancestor=ancestor)


def source(
    recipe: Recipe, folder: Path, task: TrainingTask, device: torch.device
) -> tuple[Source, TeacherSignal | None]:
    """Return where batches come from, and the teacher that speaks in them."""
    patch, choice = recipe.training_patch_zyx, recipe.training
    if recipe.generator is None:
        cases = read_cases(recipe, folder, task.names)
        if task.soft is None:
            return Batches(cases, patch, choice, device), None
        soft = read_maps(cases, recipe.n_classes, task.soft)
        heard = TeacherSignal(maps_digest(cases, task.soft), makers_have_seen(task.soft))
        return Batches(cases, patch, choice, device, soft=soft), heard
    maps = [read_anatomy(recipe, folder, name) for name in task.names]
    drawn = SyntheticBatches(maps, patch, choice, recipe.generator, device)
    if not task.teachers:
        return drawn, None
    opened = [open_run(recipe, recipe.fold_size, run, device) for run in task.teachers]
    networks = [network for network, _ in opened]
    digest = hashlib.sha256(b"".join(weights_digest(network) for network in networks))
    has_seen = cases_used_by_any(story for _, story in opened)
    return DistillationBatches(drawn, networks, device), TeacherSignal(digest.hexdigest(), has_seen)


def beginning(recipe: Recipe, task: TrainingTask, network: UNet) -> dict[str, Any]:
    """Give `network` the weights that the task begins with, if it does not draw them.

    Returns:
        What this adds to the choices of the training: the story of the run that they are from.

    Raises:
        BadCheckpoint: the run has no checkpoint, is not finished, or is of another network.
        BadRecipe: the network cannot inherit from the run's.
    """
    if task.start is None:
        if task.ancestor is None:
            return {}
        wide, story = open_run(recipe, recipe.fold_size, task.ancestor, torch.device("cpu"))
        inherit(network, wide)
        return {"inherits": story | {"weights": weights_digest(wide).hex()}}
    _, story = averaged_network(network, task.start, torch.device("cpu"))
    network.train()
    if not is_finished(story):
        message = f"run {task.start.name} stopped at step {story['step']}, before its end"
        raise BadCheckpoint(message, advice="The command that began it finishes it")
    if story["choices"]["topology"] != binding(recipe, task.size)["topology"]:
        message = f"run {task.start.name} is of another network"
        raise BadCheckpoint(message)
    return {"start": story | {"weights": weights_digest(network).hex()}}


def identity(
    recipe: Recipe, task: TrainingTask, teacher: TeacherSignal | None, begun: dict[str, Any]
) -> str:
    """Return what a checkpoint is bound to: every choice that changes this training.

    Texts for the card, metadata of the package and other sizes may change without harm; `teacher`
    is whom a student listens to, `begun` what `beginning` returned.
    """
    choices = binding(recipe, task.size) | {
        "names": task.names,
        "distillation": None if teacher is None else recipe.distillation,
        "teacher": None if teacher is None else teacher.digest,
    }
    if teacher is not None and teacher.has_seen is not None:
        choices["taught_by_cases"] = teacher.has_seen
    return msgspec.json.encode(choices | begun).decode()


def lineage(story: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the stories of a run and of all runs that it started from, the last one first."""
    stories = [story]
    while (before := stories[-1]["choices"].get("start")) is not None:
        stories.append(before)
    return stories


def cases_used_by(story: dict[str, Any]) -> set[str]:
    """Return the cases that a run has seen, and all from which it has any knowledge.

    These are the runs that it started from, inherits from, and listens to, as far as recorded.
    """
    found: set[str] = set()
    for one in lineage(story):
        for key in ("names", "taught_by_cases"):
            found.update(one["choices"].get(key, ()))
        if (wide := one["choices"].get("inherits")) is not None:
            found |= cases_used_by(wide)
    return found


def cases_used_by_any(stories: Iterable[dict[str, Any]]) -> tuple[str, ...]:
    """Return the cases that any of several runs has seen, in order."""
    return tuple(sorted(set[str]().union(*(cases_used_by(story) for story in stories))))


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
    if recipe.generator is not None:
        choices["generator"] = recipe.generator
    if recipe.data.partial:  # what nobody has drawn is no background: another loss
        choices["partial"] = recipe.data.partial
    plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(choices))
    return plain


def agree(mine: Any, other: Any, but: Collection[str] = ()) -> bool:
    """Compare one choice of two trainings; of its own keys, those that both know, without `but`.

    Older code had fewer keys, and did what today's defaults say.
    """
    if not (isinstance(mine, dict) and isinstance(other, dict)):
        return bool(mine == other)
    both = (mine.keys() & other.keys()).difference(but)
    return all(mine[key] == other[key] for key in both)
