"""Training tasks: the cases and the teacher of one network, its first weights and its record."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import msgspec
import torch

from kd.data.batches import Batches, DistillationBatches, Source, SyntheticBatches
from kd.data.cache import cached_cases
from kd.data.cases import read_anatomy
from kd.data.device import CPU
from kd.data.soft_targets import maps_digest, read_maps, training_cases_of, weights_digest
from kd.errors import BadCheckpoint, BadRecipe, BadTeacher
from kd.networks.inherit import inherit
from kd.networks.unet import UNet
from kd.recipe.read import Recipe
from kd.records import Ancestor, Choices, Run, TeacherSignal
from kd.training.checkpoints import read_checkpoint
from kd.training.runs import fold_run, open_run

SOFT = "soft"  # folder of the soft targets, beside the runs of the teacher's folds


@dataclass(frozen=True)
class TrainingTask:
    """What one network is trained on: which size, which cases, which teacher."""

    size: str
    names: tuple[str, ...]
    soft: Path | None = None  # folder of the teacher's soft targets; None: labels alone
    # runs whose networks are evaluated at every step, where images are synthetic
    teachers: tuple[Path, ...] = ()
    start: Path | None = None  # run that this one continues; None: random initial weights
    # run of a wider network, whose strongest channels initialise this one
    ancestor: Path | None = None
    watched: tuple[str, ...] = ()  # held-out cases on which the training is watched

    @property
    def is_distilled(self) -> bool:
        """Whether it has a teacher."""
        return self.soft is not None or bool(self.teachers)


def student_task(
    recipe: Recipe,
    size: str,
    names: tuple[str, ...],
    runs: Path | None,
    soft: Path | None,
    *,
    without_fold: int | None = None,
) -> TrainingTask:
    """Return the task of a student: from the folds in `runs`, or from the soft targets in `soft`.

    A student that is to be scored on a fold may learn only from the teacher's network that was
    trained without that fold.

    Raises:
        BadTeacher: soft targets of synthetic images, no network to inherit from, or soft targets by
            networks that used the fold in training.
    """
    fold = without_fold
    if fold is not None and soft is None and recipe.generator is None:
        assert runs is not None  # the command requires one of both
        alone = f"--size {recipe.fold_size} --run {fold_run(runs, fold)} --soft FOLDER"
        message = f"the soft targets in {runs.name} are by networks that used fold {fold} to train"
        advice = f"Run kd soften with {alone}, then give --soft FOLDER"
        if recipe.net(size).inherits:
            advice += " to kd family, beside --runs"
        raise BadTeacher(message, advice=advice)
    ancestor = None
    if recipe.net(size).inherits:
        if runs is None:
            message = f"size {size} inherits channels, and soft targets alone have none"
            raise BadTeacher(message, advice="Give --runs, the folder of the teacher's folds")
        ancestor = fold_run(runs, fold or 0)
    if recipe.generator is None:
        assert soft is not None or runs is not None  # the command requires one of both
        return TrainingTask(size, names, soft or Path(runs or "", SOFT), ancestor=ancestor)
    if runs is None:
        message = "images of this recipe are synthetic: there are no soft targets to read"
        raise BadTeacher(message, advice="Give --runs, the folder of the teacher's folds")
    folds = range(recipe.folds) if fold is None else (fold,)
    teachers = tuple(fold_run(runs, n) for n in folds)
    return TrainingTask(size, names, teachers=teachers, ancestor=ancestor)


def batches_of(
    recipe: Recipe,
    folder: Path,
    task: TrainingTask,
    device: torch.device,
    cache: Path | None = None,
) -> tuple[Source, TeacherSignal | None]:
    """Return the source of batches, and the teacher whose signal they carry.

    `cache` is the folder of prepared cases, if there is one.
    """
    patch, choice = recipe.training_patch_zyx, recipe.training
    spacing = recipe.grid.spacing_mm_zyx
    if recipe.generator is None:
        cases = cached_cases(recipe, folder, task.names, cache)
        if task.soft is None:
            return Batches(cases, patch, choice, device, spacing_mm_zyx=spacing), None
        soft = read_maps(cases, recipe.n_classes, task.soft)
        digest, used = maps_digest(cases, task.soft), training_cases_of(task.soft)
        teacher = TeacherSignal(digest=digest, cases=used)
        batches = Batches(cases, patch, choice, device, soft=soft, spacing_mm_zyx=spacing)
        return batches, teacher
    maps = [read_anatomy(recipe, folder, name) for name in task.names]
    synthetic = SyntheticBatches(maps, patch, choice, recipe.generator, device)
    if not task.teachers:
        return synthetic, None
    opened = [open_run(recipe, recipe.fold_size, run, device) for run in task.teachers]
    networks = [network for network, _ in opened]
    weights = hashlib.sha256(b"".join(weights_digest(network) for network in networks))
    used = cases_used_by_any(run for _, run in opened)
    teacher = TeacherSignal(digest=weights.hexdigest(), cases=used)
    return DistillationBatches(synthetic, networks, device), teacher


def initialise(
    recipe: Recipe, task: TrainingTask, network: UNet
) -> tuple[Ancestor | None, Ancestor | None]:
    """Load the initial weights of the task into `network`, unless they are random.

    Returns:
        The run that the task continues, and the run that it inherits channels from.

    Raises:
        BadCheckpoint: the run has no checkpoint, is not finished, or is of another network.
        BadRecipe: the network cannot inherit from the run's, or only the fine stage of a network
            without weights is to be trained.
    """
    if recipe.training.fine_stage_only and task.start is None:
        message = "training.fine_stage_only: true needs a trained network to start from"
        raise BadRecipe(message, advice="Give --start, or remove the key from the recipe")
    if task.start is not None:
        return _continued(recipe, task.size, task.start, network), None
    if task.ancestor is None:
        return None, None
    wide, run = open_run(recipe, recipe.fold_size, task.ancestor, CPU)
    inherit(network, wide)
    return None, Ancestor(weights=weights_digest(wide).hex(), run=run)


def _continued(recipe: Recipe, size: str, start: Path, network: UNet) -> Ancestor:
    """Load the averaged weights of a run; a fine stage that it lacks corrects nothing at first."""
    saved = read_checkpoint(start, CPU)
    run = saved.run
    if not run.is_finished:
        message = f"run {start.name} stopped at step {run.step}, before its budget was spent"
        raise BadCheckpoint(message, advice="Run the command that began it again: it resumes")
    topology = recipe.topology(size)
    plain = msgspec.structs.replace(topology, fine_width=0)
    if run.choices is None or run.choices.topology not in (topology, plain):
        message = f"run {start.name} is of another network"
        raise BadCheckpoint(message)
    network.load_state_dict(network.state_dict() | saved.averaged)
    return Ancestor(weights=weights_digest(network).hex(), run=run)


def new_run(
    recipe: Recipe,
    task: TrainingTask,
    teacher: TeacherSignal | None,
    start: Ancestor | None = None,
    inherits: Ancestor | None = None,
) -> Run:
    """Return the record of a training at step 0."""
    return Run(
        cases=task.names,
        choices=choices_of(recipe, task.size),
        distillation=None if teacher is None else recipe.distillation,
        teacher=teacher,
        start=start,
        inherits=inherits,
    )


def choices_of(recipe: Recipe, size: str) -> Choices:
    """Return every choice of a recipe that changes the training of one size."""
    return Choices(
        size=size,
        topology=recipe.topology(size),
        n_classes=recipe.n_classes,
        grid=recipe.grid,
        intensity=recipe.intensity,
        training=recipe.training_of(size),
        augment=recipe.augment,
        generator=recipe.generator,
        partial=recipe.data.partial,
    )


def cases_used_by_any(runs: Iterable[Run]) -> tuple[str, ...]:
    """Return the cases that influenced the weights of any of several runs, sorted."""
    return tuple(sorted(set[str]().union(*(run.cases_used for run in runs))))
