"""`kd train`, `teach`, `soften`, `distill` and `family`, which can be resumed."""

import argparse
from dataclasses import replace
from pathlib import Path

import msgspec

from kd.commands.arguments import (
    absolute,
    add_cache,
    add_device,
    add_recipe,
    count,
    duration,
    minutes,
    seed,
)
from kd.commands.output import EXIT_OK, EXIT_UNFINISHED, Commands, progress_lines, say
from kd.commands.starting import say_start, start_of
from kd.data.splits import names_of
from kd.recipe.read import TEACHER, Recipe, read_recipe
from kd.release.command import note
from kd.training import steps
from kd.training.checkpoints import BEST
from kd.training.runs import fold_run, imported_folds
from kd.training.tasks import SOFT, TrainingTask, student_task
from kd.training.trainer import Outcome, Slice


def add_to(commands: Commands) -> None:
    """Add the commands of this module."""
    train = commands.add_parser(
        "train", help="train one size on reference labels; the same command resumes it"
    )
    _common(train)
    train.add_argument("--size", required=True, help="one of the recipe's sizes")
    train.add_argument("--run", type=absolute, required=True, help="folder of the checkpoint")
    _of_one_run(train)
    train.set_defaults(run_command=_train)

    teach = commands.add_parser(
        "teach", help="train the folds of the recipe's teacher, then write its soft targets"
    )
    _common(teach)
    teach.add_argument("--runs", type=absolute, required=True, help="folder of the folds")
    teach.add_argument(
        "--fold", type=int, help="train only this fold: folds can be trained in parallel"
    )
    teach.add_argument(
        "--start",
        type=absolute,
        metavar="RUNS",
        help="continue the folds of another --runs folder, or the teacher of a package",
    )
    teach.set_defaults(run_command=_teach)

    soften = commands.add_parser(
        "soften", help="write the soft targets of finished runs, such as of a student as a teacher"
    )
    add_recipe(soften)
    soften.add_argument("--size", required=True, help="size of the runs")
    soften.add_argument(
        "--run",
        type=absolute,
        action="append",
        required=True,
        help="folder; may be repeated: their mean",
    )
    soften.add_argument("--soft", type=absolute, required=True, help="folder of the soft targets")
    soften.add_argument(
        "--best",
        action="store_true",
        help="of the step with the best Dice on held-out patches, instead of the last one",
    )
    add_device(soften)
    add_cache(soften)
    soften.set_defaults(run_command=_soften)

    _add_distill(commands)
    _add_family(commands)


def _add_distill(commands: Commands) -> None:
    distill = commands.add_parser(
        "distill", help="train one student on reference labels and on the teacher's soft targets"
    )
    _common(distill)
    distill.add_argument("--size", required=True, help="one of the recipe's sizes")
    targets = distill.add_mutually_exclusive_group(required=True)
    targets.add_argument("--runs", type=absolute, help="folder given to kd teach")
    targets.add_argument("--soft", type=absolute, help="instead: folder given to kd soften")
    distill.add_argument("--run", type=absolute, required=True, help="folder of the checkpoint")
    _of_one_run(distill)
    distill.set_defaults(run_command=_distill)


def _add_family(commands: Commands) -> None:
    family = commands.add_parser(
        "family",
        help="train all students in one process on the same batches, each beside its baseline: "
        "RUNS/SIZE and RUNS/SIZE-baseline",
    )
    _common(family)
    family.add_argument("--runs", type=absolute, required=True, help="folder given to kd teach")
    family.add_argument(
        "--soft", type=absolute, help="instead of its soft targets: folder given to kd soften"
    )
    family.add_argument(
        "--size", action="append", help="may be repeated (default: all but the teacher)"
    )
    family.add_argument("--no-baselines", action="store_true", help="train the distilled runs only")
    family.add_argument("--into", type=absolute, metavar="RUNS", help="default: --runs")
    family.add_argument(
        "--start",
        type=absolute,
        metavar="RUNS",
        help="continue the finished runs in this folder, or a package: SIZE, and for baselines "
        "SIZE-baseline, or SIZE where there is none",
    )
    _without_fold(family)
    family.set_defaults(run_command=_family)


def _without_fold(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--without-fold",
        type=int,
        metavar="N",
        help="hold out fold N of the training cases for kd score, to choose between recipes",
    )


def _of_one_run(parser: argparse.ArgumentParser) -> None:
    _without_fold(parser)
    parser.add_argument(
        "--start",
        type=absolute,
        metavar="RUN",
        help="continue another finished run of this size, or a package, with a new budget",
    )


def _common(parser: argparse.ArgumentParser) -> None:
    add_recipe(parser)
    parser.add_argument("--seed", type=seed, help="instead of the recipe's")
    add_session(parser)


def add_session(parser: argparse.ArgumentParser) -> None:
    """Add budget, device, time limit and format of a training that can be resumed."""
    budget = parser.add_mutually_exclusive_group()
    budget.add_argument("--steps", type=count, help="budget of a run, instead of the recipe's")
    budget.add_argument("--minutes", type=minutes, help="budget of a run, instead of the recipe's")
    add_device(parser)
    add_cache(parser)
    parser.add_argument(
        "--slice-minutes",
        type=duration,
        help="stop after this many minutes; run the same command again to resume",
    )
    parser.add_argument("--json", action="store_true", help="progress as JSON lines")


def _train(chosen: argparse.Namespace) -> int:
    recipe = _recipe(chosen)
    names = steps.training_cases(recipe, chosen.data, chosen.without_fold)
    watched = steps.watched_cases(recipe, chosen.data, chosen.without_fold)
    task = TrainingTask(chosen.size, names, start=_start_run(chosen, recipe), watched=watched)
    return _trained(chosen, recipe, task)


def _start_run(chosen: argparse.Namespace, recipe: Recipe) -> Path | None:
    """Return the run that a training of one size continues: a run, or that size of a package."""
    names = names_of(recipe, chosen.data, recipe.data.train)
    start = start_of(chosen.start, chosen.run.parent, recipe, chosen.data, names)
    if start == chosen.start or start is None:
        return start
    return fold_run(start, 0) if chosen.size == TEACHER else start / chosen.size


def _teach(chosen: argparse.Namespace) -> int:
    limits, recipe = limits_of(chosen), _recipe(chosen)
    names = names_of(recipe, chosen.data, recipe.data.train)
    runs = steps.Runs(chosen.runs, start_of(chosen.start, chosen.runs, recipe, chosen.data, names))

    def report_of(fold: int) -> steps.Report:
        return progress_lines(fold_run(chosen.runs, fold).name, as_json=chosen.json)

    _say_folds(recipe, chosen)
    if chosen.fold is not None:
        report = report_of(chosen.fold)
        outcome = steps.train_fold(
            recipe, chosen.data, runs, chosen.fold, limits=limits, report=report
        )
        return _finish(fold_run(chosen.runs, chosen.fold).name, outcome)
    finished = steps.train_teacher(
        recipe, chosen.data, runs, limits=limits, report_of=report_of, say=say
    )
    if finished:
        folds = [fold_run(chosen.runs, number) for number in range(recipe.folds)]
        for folder in (chosen.runs / SOFT, *folds):
            note(folder, chosen.typed)
    say("teacher finished" if finished else "not finished; run the same command again to resume")
    return EXIT_OK if finished else EXIT_UNFINISHED


def _say_folds(recipe: Recipe, chosen: argparse.Namespace) -> None:
    """Write the start line of each fold that is trained here."""
    if imported_folds(chosen.runs):
        return
    names = names_of(recipe, chosen.data, recipe.data.train)
    numbers = range(recipe.folds) if chosen.fold is None else (chosen.fold,)
    tasks = {}
    for number in numbers:
        held = steps.fold_cases(recipe, chosen.data, number)
        used = tuple(name for name in names if name not in held)
        tasks[fold_run(chosen.runs, number)] = TrainingTask(recipe.fold_size, used)
    say_start(recipe, tasks, chosen.device)


def _soften(chosen: argparse.Namespace) -> int:
    recipe = read_recipe(chosen.recipe)
    names = names_of(recipe, chosen.data, recipe.data.train)
    task = TrainingTask(chosen.size, names, chosen.soft)
    limits = Slice(chosen.device, cache=chosen.cache)
    runs = [run / BEST if chosen.best else run for run in chosen.run]
    written = steps.soften(recipe, chosen.data, task, runs, limits=limits, say=say)
    note(chosen.soft, chosen.typed)
    say(f"{written} soft targets written to {chosen.soft.name}, {len(names)} are there")
    return EXIT_OK


def _distill(chosen: argparse.Namespace) -> int:
    recipe = _recipe(chosen)
    names = steps.training_cases(recipe, chosen.data, chosen.without_fold)
    fold = chosen.without_fold
    task = student_task(recipe, chosen.size, names, chosen.runs, chosen.soft, without_fold=fold)
    watched = steps.watched_cases(recipe, chosen.data, fold)
    task = replace(task, start=_start_run(chosen, recipe), watched=watched)
    return _trained(chosen, recipe, task)


def _family(chosen: argparse.Namespace) -> int:
    recipe, into = _recipe(chosen), chosen.into or chosen.runs
    names = steps.training_cases(recipe, chosen.data, chosen.without_fold)
    sizes = chosen.size or [size for size in recipe.sizes_in_order if size != TEACHER]
    continued = start_of(chosen.start, into, recipe, chosen.data, names)
    ending = "" if chosen.seed is None else f"-seed{chosen.seed}"
    watched = steps.watched_cases(recipe, chosen.data, chosen.without_fold)
    tasks = {}
    for size in sizes:
        start, plain = _starts(continued, size)
        task = student_task(
            recipe, size, names, chosen.runs, chosen.soft, without_fold=chosen.without_fold
        )
        tasks[into / f"{size}{ending}"] = replace(task, start=start, watched=watched)
        if not chosen.no_baselines:
            baseline = TrainingTask(size, names, start=plain, watched=watched)
            tasks[into / f"{size}-baseline{ending}"] = baseline

    def report_of(run: Path) -> steps.Report:
        return progress_lines(run.name, as_json=chosen.json)

    limits = limits_of(chosen)
    say_start(recipe, tasks, chosen.device)
    outcomes = steps.train_all(recipe, chosen.data, tasks, limits=limits, report_of=report_of)
    for run in outcomes:
        note(run, chosen.typed)
    return max(_finish(run.name, outcome) for run, outcome in outcomes.items())


def _starts(runs: Path | None, size: str) -> tuple[Path | None, Path | None]:
    """Return the runs that a distilled student and its baseline continue."""
    if runs is None:
        return None, None
    baseline = runs / f"{size}-baseline"
    return runs / size, baseline if baseline.exists() else runs / size


def _trained(chosen: argparse.Namespace, recipe: Recipe, task: TrainingTask) -> int:
    report = progress_lines(chosen.size, as_json=chosen.json)
    say_start(recipe, {chosen.run: task}, chosen.device)
    outcome = steps.train(
        recipe, chosen.data, task, chosen.run, limits=limits_of(chosen), report=report
    )
    note(chosen.run, chosen.typed)  # a refused command must not replace it
    return _finish(chosen.size, outcome)


def _recipe(chosen: argparse.Namespace) -> Recipe:
    """Read the recipe with the budget and seed of the command line."""
    return with_budget(read_recipe(chosen.recipe), chosen, chosen.seed)


def with_budget(recipe: Recipe, chosen: argparse.Namespace, seed: int | None = None) -> Recipe:
    """Return the recipe with another budget and seed where the command line has one."""
    training = recipe.training
    if chosen.steps is not None or chosen.minutes is not None:
        training = msgspec.structs.replace(training, steps=chosen.steps, minutes=chosen.minutes)
        sizes = {
            size: msgspec.structs.replace(net, steps=None) for size, net in recipe.sizes.items()
        }
        recipe = msgspec.structs.replace(recipe, sizes=sizes)
    if seed is not None:
        training = msgspec.structs.replace(training, seed=seed)
    return msgspec.structs.replace(recipe, training=training)


def limits_of(chosen: argparse.Namespace) -> Slice:
    """Return device and time of a call, whose time begins now."""
    seconds = None if chosen.slice_minutes is None else 60 * chosen.slice_minutes
    return Slice(chosen.device, stop_after_s=seconds, cache=chosen.cache)


def _finish(size: str, outcome: Outcome) -> int:
    state = "finished" if outcome.finished else "not finished; run the same command again to resume"
    say(f"{size}: {outcome.step} steps, {outcome.seconds:.0f} s, {state}")
    return EXIT_OK if outcome.finished else EXIT_UNFINISHED
