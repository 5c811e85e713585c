"""What one network is taught: on which cases, from whom, and what its checkpoint is bound to."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import torch

from kd.batches import Batches, Drawn, Source, Taught
from kd.cases import read_anatomy, read_cases
from kd.errors import BadCheckpoint, BadTeacher
from kd.network import UNet
from kd.recipe import Recipe
from kd.runs import fold_run, open_run
from kd.soft import maps_digest, read_maps, weights_digest
from kd.train import averaged_network, is_finished

SOFT = "soft"  # folder of the teacher's maps, beside the runs of its folds


@dataclass(frozen=True)
class Lesson:
    """What one network is taught: which size, on which cases, from whom."""

    size: str
    names: tuple[str, ...]
    soft: Path | None = None  # folder of the teacher's maps; None: reference labels alone
    # runs that are asked at every step instead, where images are drawn and no map can be kept
    teachers: tuple[Path, ...] = ()
    start: Path | None = None  # run whose weights it begins with; None: drawn ones

    @property
    def is_taught(self) -> bool:
        """Whether a teacher speaks in it."""
        return self.soft is not None or bool(self.teachers)


def student_lesson(
    recipe: Recipe, size: str, names: tuple[str, ...], runs: Path | None, soft: Path | None
) -> Lesson:
    """Return the lesson of a student: from the folds in `runs`, or from the maps in `soft`.

    Raises:
        BadTeacher: there can be no maps where images are drawn.
    """
    if recipe.generator is None:
        assert soft is not None or runs is not None  # the command has asked for one
        return Lesson(size, names, soft or Path(runs or "", SOFT))
    if runs is None:
        message = "images of this recipe are drawn: there are no soft targets to read"
        raise BadTeacher(message, advice="Give --runs, the folder of the teacher's folds")
    return Lesson(size, names, teachers=tuple(fold_run(runs, n) for n in range(recipe.folds)))


def source(
    recipe: Recipe, folder: Path, lesson: Lesson, device: torch.device
) -> tuple[Source, str | None]:
    """Return where batches come from, and the digest of the teacher that speaks in them."""
    patch, choice = recipe.training_patch_zyx, recipe.training
    if recipe.generator is None:
        cases = read_cases(recipe, folder, lesson.names)
        if lesson.soft is None:
            return Batches(cases, patch, choice, device), None
        soft = read_maps(cases, recipe.n_classes, lesson.soft)
        return Batches(cases, patch, choice, device, soft=soft), maps_digest(cases, lesson.soft)
    maps = [read_anatomy(recipe, folder, name) for name in lesson.names]
    drawn = Drawn(maps, patch, choice, recipe.generator, device)
    if not lesson.teachers:
        return drawn, None
    networks = [open_run(recipe, recipe.fold_size, run, device)[0] for run in lesson.teachers]
    digest = hashlib.sha256(b"".join(weights_digest(network) for network in networks))
    return Taught(drawn, networks, device), digest.hexdigest()


def beginning(recipe: Recipe, lesson: Lesson, network: UNet) -> dict[str, Any] | None:
    """Give `network` the weights of the run that the lesson starts from; return that run's story.

    Raises:
        BadCheckpoint: it has no checkpoint, is not finished, or is of another network.
    """
    if lesson.start is None:
        return None
    _, story = averaged_network(network, lesson.start, torch.device("cpu"))
    network.train()
    if not is_finished(story):
        message = f"run {lesson.start.name} stopped at step {story['step']}, before its end"
        raise BadCheckpoint(message, advice="The command that began it finishes it")
    if story["choices"]["topology"] != binding(recipe, lesson.size)["topology"]:
        message = f"run {lesson.start.name} is of another network"
        raise BadCheckpoint(message)
    return story | {"weights": weights_digest(network).hex()}


def identity(
    recipe: Recipe,
    lesson: Lesson,
    teacher: str | None = None,
    start: dict[str, Any] | None = None,
) -> str:
    """Return what a checkpoint is bound to: every choice that changes this training.

    Texts for the card, metadata of the package and other sizes may change without harm; `teacher`
    is the digest of the maps that a student listens to, `start` the story of the run before.
    """
    choices = binding(recipe, lesson.size) | {
        "names": lesson.names,
        "distillation": None if teacher is None else recipe.distillation,
        "teacher": teacher,
    }
    if start is not None:
        choices["start"] = start
    return msgspec.json.encode(choices).decode()


def lineage(story: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the stories of a run and of all runs that it started from, the last one first."""
    stories = [story]
    while (before := stories[-1]["choices"].get("start")) is not None:
        stories.append(before)
    return stories


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
    plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(choices))
    return plain
