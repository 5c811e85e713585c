"""`kd plan` and `kd import`: from a data set, or from a trained nnU-Net, to a recipe."""

import argparse
from pathlib import Path

import msgspec

from kd.commands.output import EXIT_OK, Commands, say, show
from kd.nnunet import import_folder, read_results
from kd.plan import plan_folder
from kd.recipe import UNKNOWN_CODE


def add_to(commands: Commands) -> None:
    """Add the commands of this room."""
    plan = commands.add_parser("plan", help="look at a data set and write a recipe for it")
    plan.add_argument(
        "data", type=Path, help="folder: images/ and labels/, or nnU-Net's raw layout"
    )
    plan.add_argument("--task", required=True, help="such as hippocampus-mr")
    plan.add_argument("--modality", choices=("MR", "CT"), required=True)
    plan.add_argument("--out", type=Path, required=True, help="the recipe, YAML")
    plan.add_argument("--json", action="store_true", help="the recipe as JSON on the output")
    plan.set_defaults(run_command=_plan)

    take = commands.add_parser(
        "import", help="take an nnU-Net v2 results folder as the teacher; writes recipe and runs"
    )
    take.add_argument("results", type=Path, help="folder TRAINER__PLANS__CONFIGURATION")
    take.add_argument("--configuration", help="if the folder's name does not say it")
    take.add_argument("--data", type=Path, required=True, help="nnUNet_raw/DatasetNNN_NAME")
    take.add_argument("--task", required=True, help="such as hippocampus-mr")
    take.add_argument("--modality", choices=("MR", "CT"), required=True)
    take.add_argument("--runs", type=Path, required=True, help="where the folds are written")
    take.add_argument("--out", type=Path, required=True, help="the recipe, YAML")
    take.add_argument("--json", action="store_true", help="the recipe as JSON on the output")
    take.set_defaults(run_command=_import)


def _import(chosen: argparse.Namespace) -> int:
    results = read_results(chosen.results, chosen.configuration)
    words = (chosen.modality, chosen.task)
    recipe = import_folder(results, chosen.data, words, chosen.runs, chosen.out)
    if chosen.json:
        show(msgspec.json.encode(recipe).decode())
    networks = "1 network" if recipe.folds == 1 else f"{recipe.folds} networks"
    say(f"{networks} taken over; kd teach writes their soft targets.")
    say(f"Fill in every {UNKNOWN_CODE!r} of {chosen.out.name}, and name test cases that no fold")
    say(f"has seen under {recipe.data.test!r} in {Path(recipe.data.splits).name}.")
    return EXIT_OK


def _plan(chosen: argparse.Namespace) -> int:
    recipe = plan_folder(chosen.data, chosen.task, chosen.modality, chosen.out)
    if chosen.json:
        show(msgspec.json.encode(recipe).decode())
    say(f"{chosen.out.name}: patch {recipe.grid.patch_zyx}, {len(recipe.strides_zyx)} stages")
    say(f"Fill in every {UNKNOWN_CODE!r} before a release; edit whatever you know better.")
    return EXIT_OK
