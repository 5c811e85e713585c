"""`kd plan`, `kd import` and `kd average`: recipes, teachers and a reference image from data."""

import argparse
from collections.abc import Iterator
from pathlib import Path

import msgspec

from kd.commands.arguments import add_new_recipe, add_recipe
from kd.commands.output import EXIT_OK, Commands, say, show
from kd.data.average import average
from kd.data.cases import Pair, read_pair
from kd.data.splits import names_of
from kd.planning.nnunet import import_folder
from kd.planning.nnunet_plans import read_results
from kd.planning.plan import plan_folder
from kd.recipe.read import UNKNOWN_CODE, read_recipe
from node.imaging.nifti import write

AIR_HU = -1000.0
REPORT_EVERY_CASES = 20


def add_to(commands: Commands) -> None:
    """Add the commands of this module."""
    plan = commands.add_parser("plan", help="propose a recipe for a data set")
    plan.add_argument(
        "data", type=Path, help="folder: images/ and labels/, or nnU-Net's raw layout"
    )
    add_new_recipe(plan)
    plan.set_defaults(run_command=_plan)

    take = commands.add_parser(
        "import", help="take an nnU-Net v2 results folder as the teacher; writes recipe and runs"
    )
    take.add_argument("results", type=Path, help="folder TRAINER__PLANS__CONFIGURATION")
    take.add_argument("--configuration", help="if the folder's name does not say it")
    take.add_argument("--data", type=Path, required=True, help="nnUNet_raw/DatasetNNN_NAME")
    take.add_argument("--runs", type=Path, required=True, help="where the folds are written")
    add_new_recipe(take)
    take.set_defaults(run_command=_import)

    mean = commands.add_parser(
        "average",
        help="write the average of the training images, aligned by their labels: a reference image "
        "that shows no person",
    )
    add_recipe(mean)
    mean.add_argument(
        "--outside", type=float, help="intensity beyond an image (default: air in CT, 0 in MR)"
    )
    mean.add_argument("--out", type=Path, required=True, help="NIfTI file")
    mean.set_defaults(run_command=_average)


def _average(chosen: argparse.Namespace) -> int:
    recipe = read_recipe(chosen.recipe)
    names = names_of(recipe, chosen.data, recipe.data.train)

    def read() -> Iterator[Pair]:
        for number, name in enumerate(names, 1):
            if number % REPORT_EVERY_CASES == 0:
                say(f"{number} of {len(names)} cases")
            yield read_pair(recipe, chosen.data, name)

    labelled = tuple(p.number for p in recipe.segments if p.number not in recipe.data.partial)
    outside = AIR_HU if recipe.input.modality == "CT" else 0.0
    if chosen.outside is not None:
        outside = chosen.outside
    mean = average(read, labelled, recipe.grid.spacing_mm_zyx, outside)
    write(mean, chosen.out)
    say(f"{chosen.out.name}: {len(names)} cases, {mean.grid.shape} voxels")
    return EXIT_OK


def _import(chosen: argparse.Namespace) -> int:
    results = read_results(chosen.results, chosen.configuration)
    words = (chosen.modality, chosen.task)
    recipe = import_folder(
        results, chosen.data, words, chosen.runs, chosen.out, is_forced=chosen.force
    )
    if chosen.json:
        show(msgspec.json.encode(recipe).decode())
    networks = "1 network" if recipe.folds == 1 else f"{recipe.folds} networks"
    say(f"{networks} imported; kd teach writes their soft targets.")
    say(f"Fill in every {UNKNOWN_CODE!r} of {chosen.out.name}, and set its gates.")
    if recipe.data.test_images is None:
        splits = Path(recipe.data.splits).name
        say(f"Add test cases that no fold was trained on to {recipe.data.test!r} in {splits}.")
    return EXIT_OK


def _plan(chosen: argparse.Namespace) -> int:
    recipe = plan_folder(
        chosen.data, chosen.task, chosen.modality, chosen.out, is_forced=chosen.force
    )
    if chosen.json:
        show(msgspec.json.encode(recipe).decode())
    say(f"{chosen.out.name}: patch {recipe.grid.patch_zyx}, {len(recipe.strides_zyx)} stages")
    say(f"Fill in every {UNKNOWN_CODE!r} of {chosen.out.name}, and set its gates.")
    return EXIT_OK
