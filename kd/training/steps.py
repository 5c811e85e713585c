"""Train, distil and write soft targets: the functions behind the commands, without printing."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from kd.data.batches import Source
from kd.data.cache import cached_cases
from kd.data.soft_targets import Makers, missing_maps, write_maps
from kd.data.splits import folds, names_of, subjects_of
from kd.errors import BadSplit, BadTeacher
from kd.recipe.read import Recipe
from kd.training.loop import TrainingRun, train_runs
from kd.training.losses import Terms, distilled, supervised
from kd.training.runs import fold_run, imported_folds, new_network, open_run
from kd.training.tasks import SOFT, TrainingTask, batches_of, cases_used_by_any, initialise, new_run
from kd.training.trainer import Outcome, Progress, Slice, Trainer, pick_device
from kd.training.watch import watched_patches
from node.colours import display_colours

Report = Callable[[Progress], None]
Say = Callable[[str], None]


@dataclass(frozen=True)
class Runs:
    """Folder of a teacher's folds, and the folder of the folds that they continue, if any."""

    folder: Path
    start: Path | None = None


def train(
    recipe: Recipe, folder: Path, task: TrainingTask, run: Path, *, limits: Slice, report: Report
) -> Outcome:
    """Train one network; resume where `run` has a checkpoint.

    Args:
        recipe: all choices; change its `training` for another budget or seed.
        folder: the data set.
        task: which size, which cases, which teacher.
        run: folder of the checkpoint.
        limits: device of this call, and when it stops before the budget is spent.
        report: called every few steps.

    Raises:
        BadTeacher: a soft target is missing or does not fit its case.
        KdError: a case, split, recipe or checkpoint cannot be used.
    """
    return train_all(recipe, folder, {run: task}, limits=limits, report_of=lambda _: report)[run]


def train_all(
    recipe: Recipe,
    folder: Path,
    tasks: Mapping[Path, TrainingTask],
    *,
    limits: Slice,
    report_of: Callable[[Path], Report] = lambda _: lambda _: None,
) -> dict[Path, Outcome]:
    """Train several networks on the same batches; resume where their runs have checkpoints.

    Args:
        recipe: all choices; change its `training` for another budget or seed.
        folder: the data set.
        tasks: by the folder of the run; all on the same cases, and those with a teacher on the
            same one.
        limits: device of this call, and when it stops before the budgets are spent.
        report_of: gives each run the function that is called every few steps.

    Raises:
        BadTeacher: a soft target is missing or does not fit its case.
        KdError: a case, split, recipe or checkpoint cannot be used.
    """
    device = pick_device(limits.device)
    distilled_tasks = [task for task in tasks.values() if task.is_distilled]
    leading = (distilled_tasks or list(tasks.values()))[0]
    batches, teacher = batches_of(recipe, folder, leading, device, limits.cache)
    sources: dict[tuple[str, ...], Source | None] = {}

    def watched(names: tuple[str, ...]) -> Source | None:
        if names not in sources:
            sources[names] = watched_patches(recipe, folder, names, device, limits.cache)
        return sources[names]

    training_runs, colours = [], display_colours(recipe.segments)
    for run, task in tasks.items():
        network, choice = new_network(recipe, task.size), recipe.training_of(task.size)
        terms = Terms()
        objective = supervised(choice.balance, terms)
        if task.is_distilled:
            objective = distilled(recipe.distillation, choice.balance, terms)
        start, inherits = initialise(recipe, task, network)
        signal = teacher if task.is_distilled else None
        trainer = Trainer(network, new_run(recipe, task, signal, start, inherits), device)
        shown = watched(task.watched)
        training_runs.append(
            TrainingRun(trainer, objective, run, report_of(run), terms, shown, colours)
        )
    return dict(zip(tasks, train_runs(training_runs, batches, limits=limits), strict=True))


def training_cases(recipe: Recipe, folder: Path, without_fold: int | None) -> tuple[str, ...]:
    """Return the training cases, on request without one fold, on which the run can be scored.

    Raises:
        BadSplit: there is no such fold or split.
    """
    names = names_of(recipe, folder, recipe.data.train)
    if without_fold is None:
        return names
    held = held_out(recipe, folder, without_fold)
    return tuple(name for name in names if name not in held)


def watched_cases(recipe: Recipe, folder: Path, without_fold: int | None) -> tuple[str, ...]:
    """Return the held-out cases on which a training is watched; none without a held-out fold."""
    return () if without_fold is None else held_out(recipe, folder, without_fold)


def held_out(recipe: Recipe, folder: Path, fold: int) -> tuple[str, ...]:
    """Return the cases of one fold, numbered from 0.

    Raises:
        BadSplit: there is no such fold, or the split file is wrong.
    """
    if recipe.folds == 1:
        message = "there is no fold to hold out: the recipe has folds: 1"
        raise BadSplit(message, advice="Give the recipe two folds or more")
    return fold_cases(recipe, folder, fold)


def train_fold(
    recipe: Recipe, folder: Path, runs: Runs, number: int, *, limits: Slice, report: Report
) -> Outcome:
    """Train one fold of the teacher; resume where it has a checkpoint.

    Raises:
        BadSplit: there is no such fold.
        KdError: a case, split, recipe or checkpoint cannot be used.
    """
    held = fold_cases(recipe, folder, number)
    names = names_of(recipe, folder, recipe.data.train)
    used = tuple(name for name in names if name not in held)
    start = None if runs.start is None else fold_run(runs.start, number)
    task = TrainingTask(recipe.fold_size, used, start=start, watched=held)
    return train(recipe, folder, task, fold_run(runs.folder, number), limits=limits, report=report)


def train_teacher(
    recipe: Recipe,
    folder: Path,
    runs: Runs,
    *,
    limits: Slice,
    report_of: Callable[[int], Report] = lambda _: lambda _: None,
    say: Say = lambda _: None,
) -> bool:
    """Train every fold of the teacher, then write its soft targets of the training cases.

    A time limit in `limits` holds for the whole call. Finished folds are not trained again, and
    soft targets that are there are not written again.

    Args:
        recipe: all choices.
        folder: the data set.
        runs: folder of the folds and the soft targets, and of the folds that they continue.
        limits: where this call runs, and when it stops before everything is finished.
        report_of: gives each fold, by number, the function that is called every few steps.
        say: called with a message as soft targets are written.

    Returns:
        Whether everything is finished; if not, the same call continues.

    Raises:
        KdError: a case, split, recipe or checkpoint cannot be used.
    """
    names = names_of(recipe, folder, recipe.data.train)
    imported = imported_folds(runs.folder)
    parts = imported or fold_names(recipe, folder)
    for number in range(0 if imported else len(parts)):
        report = report_of(number)
        if not train_fold(recipe, folder, runs, number, limits=limits, report=report).finished:
            return False
    if recipe.generator is not None:
        return True  # synthetic images exist for one step: soft targets are computed in training
    device = pick_device(limits.device)
    opened = [
        open_run(recipe, recipe.fold_size, fold_run(runs.folder, number), device)
        for number in range(len(parts))
    ]
    teachers = [network for network, _ in opened]
    training_cases_of_all = cases_used_by_any(run for _, run in opened)

    def teachers_of(name: str) -> list[nn.Module]:
        out_of_fold = [t for t, held in zip(teachers, parts, strict=True) if name in held]
        return out_of_fold or teachers  # a single fold is trained on every case

    held_out_once = {name for held in parts for name in held}
    used = [name for name in names if name not in held_out_once] if len(parts) > 1 else []
    if used:
        who = f"{len(used)} cases (for example {used[0]}) were in every fold's training set"
        say(f"{who}; their soft targets may be over-confident")
    cases = cached_cases(recipe, folder, names, limits.cache)
    soft = runs.folder / SOFT
    makers = Makers(teachers_of, training_cases_of_all, limits.is_over)
    write_maps(cases, makers, recipe, device, soft, say=say)
    return not missing_maps(names, soft)


def soften(
    recipe: Recipe,
    folder: Path,
    task: TrainingTask,
    runs: Sequence[Path],
    *,
    limits: Slice,
    say: Say = lambda _: None,
) -> int:
    """Write the soft targets of finished runs of one size to `task.soft`.

    A run is its folder, or `best.pt` in it.

    Several runs are averaged. With it a large student can be the teacher of a smaller one.

    Returns:
        The number of soft targets that were missing.

    Raises:
        KdError: a case or checkpoint cannot be used.
    """
    assert task.soft is not None  # required by the command
    if recipe.generator is not None:
        message = "images of this recipe are synthetic: its teacher has no soft targets to write"
        raise BadTeacher(
            message, advice="Use kd distill --runs, which evaluates the teacher at every step"
        )
    device = pick_device(limits.device)
    opened = [open_run(recipe, task.size, run, device) for run in runs]
    teachers = [network for network, _ in opened]
    makers = Makers(lambda _: teachers, cases_used_by_any(run for _, run in opened))
    cases = cached_cases(recipe, folder, task.names, limits.cache)
    return write_maps(cases, makers, recipe, device, task.soft, say=say)


def fold_names(recipe: Recipe, folder: Path) -> tuple[tuple[str, ...], ...]:
    """Return the held-out cases of each fold of the teacher; none for a single teacher.

    Raises:
        BadSplit: fewer subjects than folds, or the split file is wrong.
    """
    if recipe.folds == 1:
        return ((),)
    names = names_of(recipe, folder, recipe.data.train)
    return folds(names, recipe.folds, subjects_of(recipe, folder))


def fold_cases(recipe: Recipe, folder: Path, number: int) -> tuple[str, ...]:
    """Return the held-out cases of one fold; none of a single teacher.

    Raises:
        BadSplit: there is no such fold.
    """
    parts = fold_names(recipe, folder)
    if not 0 <= number < len(parts):
        message = f"there is no fold {number}: the recipe has folds: {recipe.folds}"
        raise BadSplit(message, advice="Folds are numbered from 0")
    return parts[number]
