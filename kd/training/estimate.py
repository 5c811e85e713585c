"""How long a family will train on this machine, from one measured step of each network.

Promises: every step is measured here, on a batch of the real shape; nothing is extrapolated from
another network. Leaves the time of a release out: it depends on the test cases.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from kd.data.augment import Batch, thinned
from kd.data.cases import Case
from kd.data.device import CPU
from kd.networks.precision import autocast
from kd.networks.unet import parameters_of
from kd.recipe.read import Recipe
from kd.training.checkpoints import CHECKPOINT, read_checkpoint
from kd.training.losses import distilled, supervised
from kd.training.runs import fold_run, imported_folds, new_network, open_run
from kd.training.tasks import TrainingTask, new_run
from kd.training.trainer import Trainer, pick_device
from node.imaging.patches import starts


@dataclass(frozen=True)
class RunEstimate:
    """The remaining work of one training."""

    name: str
    parameters: int
    steps: int  # that are left
    seconds: float  # that they take


def soft_target_seconds(
    recipe: Recipe, case: Case, runs: Path, missing: list[str], device: str
) -> float:
    """Return how long the missing soft targets take, measured on one patch of `case`.

    Args:
        recipe: of the imported teacher.
        case: a typical training case, for the number of patches.
        runs: folder of the teacher's folds.
        missing: cases without soft targets.
        device: as given to `pick_device`.
    """
    if not missing:
        return 0.0
    on = pick_device(device)
    teacher, _ = open_run(recipe, recipe.fold_size, fold_run(runs, 0), on)
    seconds = _patch_seconds(recipe, teacher, on)
    held = imported_folds(runs) or ((),)
    networks = sum(sum(name in fold for fold in held) or len(held) for name in missing)
    return seconds * patches_of(recipe, case) * networks


def patches_of(recipe: Recipe, case: Case) -> int:
    """Return the number of overlapping patches of a prepared case."""
    grid = recipe.grid
    pairs = zip(case.image.array.shape, grid.patch_zyx, strict=True)
    return int(np.prod([len(starts(max(n, p), p, grid.overlap)) for n, p in pairs]))


def _patch_seconds(recipe: Recipe, teacher: nn.Module, on: torch.device) -> float:
    """Return the seconds of the second patch: the first one initialises the library."""
    views = 2 if recipe.augment.mirror_left else 1
    image = torch.zeros(views, 1, *recipe.grid.patch_zyx, device=on)

    def score() -> float:
        with torch.no_grad(), autocast(on):
            return float(teacher(image).float().softmax(1).sum())  # waits for a GPU

    score()
    return _timed(score)


def training_seconds(
    recipe: Recipe,
    tasks: Mapping[Path, TrainingTask],
    device: str,
    say: Callable[[str], None] = lambda _: None,
) -> list[RunEstimate]:
    """Measure one step of each network, and return the remaining work of each training.

    Args:
        recipe: with the budget of the trainings.
        tasks: by the folder of the run; one that has a checkpoint is continued.
        device: as given to `pick_device`.
        say: called before each network is measured.

    Raises:
        KdError: a recipe or checkpoint cannot be used.
    """
    on = pick_device(device)
    measured: dict[tuple[str, bool], float] = {}
    estimates = []
    for run, task in tasks.items():
        choice = recipe.training_of(task.size)
        saved = read_checkpoint(run, CPU).run if (run / CHECKPOINT).exists() else None
        done, spent = (0, 0.0) if saved is None else (saved.step, saved.seconds)
        parameters = parameters_of(new_network(recipe, task.size))
        key = (task.size, task.is_distilled)
        if choice.steps is None:
            seconds = max(0.0, 60 * (choice.minutes or 0.0) - spent)
            estimates.append(RunEstimate(run.name, parameters, 0, seconds))
            continue
        left = max(0, choice.steps - done)
        if left and key not in measured:
            say(f"measuring one step of {task.size}")
            measured[key] = step_seconds(recipe, task, on)
        seconds = left * measured.get(key, 0.0)
        estimates.append(RunEstimate(run.name, parameters, left, seconds))
    return estimates


def step_seconds(recipe: Recipe, task: TrainingTask, on: torch.device) -> float:
    """Return the seconds of one training step on a batch of random numbers; the second one."""
    batch = _random_batch(recipe, has_soft_targets=task.is_distilled, on=on)
    choice = recipe.training_of(task.size)
    objective = supervised(choice.balance)
    if task.is_distilled:
        objective = distilled(recipe.distillation, choice.balance)
    trainer = Trainer(new_network(recipe, task.size), new_run(recipe, task, None), on)

    def step() -> None:
        trainer.train_step(batch, objective)
        trainer.read_losses()  # waits for a GPU

    step()
    return _timed(step)


def _random_batch(recipe: Recipe, *, has_soft_targets: bool, on: torch.device) -> Batch:
    random = torch.Generator().manual_seed(recipe.training.seed)
    shape = (recipe.training.batch, *recipe.training_patch_zyx)
    labels = torch.randint(0, recipe.n_classes, shape, generator=random).to(torch.uint8)
    image = torch.randn((shape[0], 1, *shape[1:]), generator=random)
    soft = None
    if has_soft_targets:
        scores = torch.randn((shape[0], recipe.n_classes, *shape[1:]), generator=random)
        soft = scores.log_softmax(1).to(on)
    batch = Batch(image.to(on), labels.to(on), soft)
    return thinned(batch, (0, 0, 0)) if recipe.training.is_thin else batch


def _timed(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun
