"""`kd score` and `kd report`: a run on a held-out fold, and all runs of a folder as one page."""

import argparse
from pathlib import Path

import msgspec

from kd.commands.arguments import absolute, add_device, add_recipe
from kd.commands.output import EXIT_OK, Commands, say, show
from kd.errors import BadCheckpoint
from kd.evaluation.score import score, write_score
from kd.evaluation.tensorboard import write_events
from kd.evaluation.training_report import write_report
from kd.recipe.read import read_recipe
from kd.training.checkpoints import BEST


def add_to(commands: Commands) -> None:
    """Add the commands of this module."""
    _add_score(commands)
    report = commands.add_parser(
        "report", help="curves and scores of the runs in a folder as one HTML page"
    )
    report.add_argument("runs", type=Path, help="folder of the runs")
    report.add_argument("--out", type=Path, help="default: report.html in that folder")
    report.add_argument(
        "--tensorboard",
        type=absolute,
        metavar="FOLDER",
        help="also write the curves and pictures as events of TensorBoard (extra tensorboard)",
    )
    report.set_defaults(run_command=_report)


def _add_score(commands: Commands) -> None:
    score = commands.add_parser(
        "score", help="Dice of a run on a fold that was held out of its training"
    )
    add_recipe(score)
    score.add_argument("--size", required=True, help="size of the run")
    score.add_argument("--run", type=absolute, required=True, help="folder of its checkpoint")
    score.add_argument("--fold", type=int, required=True, help="numbered from 0")
    score.add_argument(
        "--best",
        action="store_true",
        help="the step with the best Dice on held-out patches, instead of the last one; the result "
        "is shown, not kept",
    )
    add_device(score)
    score.add_argument("--json", action="store_true", help="write the numbers as JSON")
    score.set_defaults(run_command=_score)


def _score(chosen: argparse.Namespace) -> int:
    recipe = read_recipe(chosen.recipe)
    run = chosen.run / BEST if chosen.best else chosen.run
    accuracy = score(recipe, chosen.data, chosen.size, run, chosen.fold, device=chosen.device)
    if not chosen.best:
        write_score(accuracy, chosen.run, chosen.fold)
    if chosen.json:
        show(msgspec.json.encode(accuracy).decode())
        return EXIT_OK
    parts = ", ".join(f"{label} {mean:.4f}" for label, mean in accuracy.per_structure.items())
    show(f"{accuracy.cases} cases: Dice {accuracy.dice.words()}; {parts}")
    if accuracy.negatives is not None:
        show(accuracy.negatives.sentence)
    return EXIT_OK


def _report(chosen: argparse.Namespace) -> int:
    if not chosen.runs.is_dir():
        message = f"there is no folder {chosen.runs}"
        raise BadCheckpoint(message, advice="Give the folder that holds the runs")
    out = chosen.out or chosen.runs / "report.html"
    runs = write_report(chosen.runs, out)
    if not runs:
        message = f"{chosen.runs} has no run that was trained here"
        raise BadCheckpoint(message, advice="Give the folder that holds the runs")
    say(f"{out}: {len(runs)} runs")
    if chosen.tensorboard is not None:
        write_events(runs, chosen.tensorboard)
        say(f"{chosen.tensorboard}: events; show them with tensorboard --logdir")
    return EXIT_OK
