"""`kd train`, `teach`, `soften`, `distill` and `family`, which can be resumed, and `kd score`."""

import argparse
from dataclasses import replace
from pathlib import Path

import msgspec

from kd.commands.arguments import add_device, add_recipe, count, duration, minutes, seed
from kd.commands.output import EXIT_OK, EXIT_UNFINISHED, Commands, progress_lines, say, show
from kd.data.splits import names_of
from kd.evaluation.score import score
from kd.recipe.read import TEACHER, Recipe, read_recipe
from kd.release.command import note
from kd.training import steps
from kd.training.runs import fold_run
from kd.training.tasks import SOFT, TrainingTask, student_task
from kd.training.trainer import Outcome, Slice


def add_to(commands: Commands) -> None:
    """Add the commands of this module."""
    train = commands.add_parser(
        "train", help="train one size on reference labels; the same command resumes it"
    )
    _common(train)
    train.add_argument("--size", required=True, help="one of the recipe's sizes")
    train.add_argument("--run", type=Path, required=True, help="folder of the checkpoint")
    _of_one_run(train)
    train.set_defaults(run_command=_train)

    teach = commands.add_parser(
        "teach", help="train the folds of the recipe's teacher, then write its soft targets"
    )
    _common(teach)
    teach.add_argument("--runs", type=Path, required=True, help="folder of the folds")
    teach.add_argument(
        "--fold", type=int, help="train only this fold: folds can be trained in parallel"
    )
    teach.add_argument(
        "--start", type=Path, metavar="RUNS", help="continue the folds of another --runs folder"
    )
    teach.set_defaults(run_command=_teach)

    soften = commands.add_parser(
        "soften", help="write the soft targets of finished runs, such as of a student as a teacher"
    )
    add_recipe(soften)
    soften.add_argument("--size", required=True, help="size of the runs")
    soften.add_argument(
        "--run",
        type=Path,
        action="append",
        required=True,
        help="folder; may be repeated: their mean",
    )
    soften.add_argument("--soft", type=Path, required=True, help="folder of the soft targets")
    add_device(soften)
    soften.set_defaults(run_command=_soften)

    _add_distill(commands)
    _add_family(commands)
    _add_score(commands)


def _add_distill(commands: Commands) -> None:
    distill = commands.add_parser(
        "distill", help="train one student on reference labels and on the teacher's soft targets"
    )
    _common(distill)
    distill.add_argument("--size", required=True, help="one of the recipe's sizes")
    targets = distill.add_mutually_exclusive_group(required=True)
    targets.add_argument("--runs", type=Path, help="folder given to kd teach")
    targets.add_argument("--soft", type=Path, help="instead: folder given to kd soften")
    distill.add_argument("--run", type=Path, required=True, help="folder of the checkpoint")
    _of_one_run(distill)
    distill.set_defaults(run_command=_distill)


def _add_family(commands: Commands) -> None:
    family = commands.add_parser(
        "family",
        help="train all students in one process on the same batches, each beside its baseline: "
        "RUNS/SIZE and RUNS/SIZE-baseline",
    )
    _common(family)
    family.add_argument("--runs", type=Path, required=True, help="folder given to kd teach")
    family.add_argument(
        "--soft", type=Path, help="instead of its soft targets: folder given to kd soften"
    )
    family.add_argument(
        "--size", action="append", help="may be repeated (default: all but the teacher)"
    )
    family.add_argument("--no-baselines", action="store_true", help="train the distilled runs only")
    family.add_argument("--into", type=Path, metavar="RUNS", help="of new runs (default: --runs)")
    family.add_argument(
        "--start",
        type=Path,
        metavar="RUNS",
        help="continue the finished runs in this folder: SIZE, and for baselines SIZE-baseline, "
        "or SIZE where there is none",
    )
    _without_fold(family)
    family.set_defaults(run_command=_family)


def _add_score(commands: Commands) -> None:
    score = commands.add_parser(
        "score", help="Dice of a run on a fold that was held out of its training"
    )
    add_recipe(score)
    score.add_argument("--size", required=True, help="size of the run")
    score.add_argument("--run", type=Path, required=True, help="folder of its checkpoint")
    score.add_argument("--fold", type=int, required=True, help="numbered from 0")
    add_device(score)
    score.add_argument("--json", action="store_true", help="write the numbers as JSON")
    score.set_defaults(run_command=_score)


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
        type=Path,
        metavar="RUN",
        help="continue another finished run of this size with a new budget",
    )


def _common(parser: argparse.ArgumentParser) -> None:
    add_recipe(parser)
    budget = parser.add_mutually_exclusive_group()
    budget.add_argument("--steps", type=count, help="budget of a run, instead of the recipe's")
    budget.add_argument("--minutes", type=minutes, help="budget of a run, instead of the recipe's")
    parser.add_argument("--seed", type=seed, help="instead of the recipe's")
    add_device(parser)
    parser.add_argument(
        "--slice-minutes",
        type=duration,
        help="stop after this many minutes; run the same command again to resume",
    )
    parser.add_argument("--json", action="store_true", help="progress as JSON lines")


def _train(chosen: argparse.Namespace) -> int:
    recipe = _recipe(chosen)
    names = steps.training_cases(recipe, chosen.data, chosen.without_fold)
    return _trained(chosen, recipe, TrainingTask(chosen.size, names, start=chosen.start))


def _teach(chosen: argparse.Namespace) -> int:
    recipe, limits = _recipe(chosen), _limits(chosen)
    runs = steps.Runs(chosen.runs, chosen.start)

    def report_of(fold: int) -> steps.Report:
        return progress_lines(fold_run(chosen.runs, fold).name, as_json=chosen.json)

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


def _soften(chosen: argparse.Namespace) -> int:
    recipe = read_recipe(chosen.recipe)
    names = names_of(recipe, chosen.data, recipe.data.train)
    task = TrainingTask(chosen.size, names, chosen.soft)
    limits = Slice(chosen.device)
    written = steps.soften(recipe, chosen.data, task, chosen.run, limits=limits, say=say)
    note(chosen.soft, chosen.typed)
    say(f"{written} soft targets written to {chosen.soft.name}, {len(names)} are there")
    return EXIT_OK


def _distill(chosen: argparse.Namespace) -> int:
    recipe = _recipe(chosen)
    names = steps.training_cases(recipe, chosen.data, chosen.without_fold)
    fold = chosen.without_fold
    task = student_task(recipe, chosen.size, names, chosen.runs, chosen.soft, without_fold=fold)
    task = replace(task, start=chosen.start)
    return _trained(chosen, recipe, task)


def _family(chosen: argparse.Namespace) -> int:
    recipe, into = _recipe(chosen), chosen.into or chosen.runs
    names = steps.training_cases(recipe, chosen.data, chosen.without_fold)
    sizes = chosen.size or [size for size in recipe.sizes_in_order if size != TEACHER]
    ending = "" if chosen.seed is None else f"-seed{chosen.seed}"
    tasks = {}
    for size in sizes:
        start, plain = _starts(chosen.start, size)
        task = student_task(
            recipe, size, names, chosen.runs, chosen.soft, without_fold=chosen.without_fold
        )
        tasks[into / f"{size}{ending}"] = replace(task, start=start)
        if not chosen.no_baselines:
            tasks[into / f"{size}-baseline{ending}"] = TrainingTask(size, names, start=plain)

    def report_of(run: Path) -> steps.Report:
        return progress_lines(run.name, as_json=chosen.json)

    limits = _limits(chosen)
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
    outcome = steps.train(
        recipe, chosen.data, task, chosen.run, limits=_limits(chosen), report=report
    )
    note(chosen.run, chosen.typed)  # a refused command must not replace it
    return _finish(chosen.size, outcome)


def _score(chosen: argparse.Namespace) -> int:
    recipe = read_recipe(chosen.recipe)
    accuracy = score(
        recipe, chosen.data, chosen.size, chosen.run, chosen.fold, device=chosen.device
    )
    if chosen.json:
        show(msgspec.json.encode(accuracy).decode())
        return EXIT_OK
    parts = ", ".join(f"{label} {mean:.4f}" for label, mean in accuracy.per_structure.items())
    show(f"{accuracy.cases} cases: Dice {accuracy.dice.words()}; {parts}")
    return EXIT_OK


def _recipe(chosen: argparse.Namespace) -> Recipe:
    """Read the recipe with the budget and seed of the command line."""
    recipe = read_recipe(chosen.recipe)
    training = recipe.training
    if chosen.steps is not None or chosen.minutes is not None:
        training = msgspec.structs.replace(training, steps=chosen.steps, minutes=chosen.minutes)
        sizes = {
            size: msgspec.structs.replace(net, steps=None) for size, net in recipe.sizes.items()
        }
        recipe = msgspec.structs.replace(recipe, sizes=sizes)
    if chosen.seed is not None:
        training = msgspec.structs.replace(training, seed=chosen.seed)
    return msgspec.structs.replace(recipe, training=training)


def _limits(chosen: argparse.Namespace) -> Slice:
    seconds = None if chosen.slice_minutes is None else 60 * chosen.slice_minutes
    return Slice(chosen.device, stop_after_s=seconds)


def _finish(size: str, outcome: Outcome) -> int:
    state = "finished" if outcome.finished else "not finished; run the same command again to resume"
    say(f"{size}: {outcome.step} steps, {outcome.seconds:.0f} s, {state}")
    return EXIT_OK if outcome.finished else EXIT_UNFINISHED
