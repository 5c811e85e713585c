"""`kd plan`: from a data set to a recipe."""

import argparse
from pathlib import Path

import msgspec

from kd.commands.output import EXIT_OK, Commands, say, show
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


def _plan(chosen: argparse.Namespace) -> int:
    recipe = plan_folder(chosen.data, chosen.task, chosen.modality, chosen.out)
    if chosen.json:
        show(msgspec.json.encode(recipe).decode())
    say(f"{chosen.out.name}: patch {recipe.grid.patch_zyx}, {len(recipe.strides_zyx)} stages")
    say(f"Fill in every {UNKNOWN_CODE!r} before a release; edit whatever you know better.")
    return EXIT_OK
