"""`kd plan` and `kd average`: a recipe and a reference image from data."""

import argparse
from collections.abc import Iterator
from pathlib import Path

import msgspec

from kd.commands.arguments import absolute, add_new_recipe, add_recipe
from kd.commands.output import EXIT_OK, Commands, say, show
from kd.data.average import average, landmarks
from kd.data.cases import Pair, read_pair
from kd.data.splits import names_of
from kd.planning.plan import plan_folder
from kd.recipe.read import UNKNOWN_CODE, Recipe, read_recipe
from node.imaging.nifti import write

AIR_HU = -1000.0
REPORT_EVERY_CASES = 20


def add_to(commands: Commands) -> None:
    """Add the commands of this module."""
    plan = commands.add_parser("plan", help="propose a recipe for a data set")
    plan.add_argument(
        "data", type=absolute, help="folder: images/ and labels/, or nnU-Net's raw layout"
    )
    add_new_recipe(plan)
    plan.set_defaults(run_command=_plan)

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
    write_average(read_recipe(chosen.recipe), chosen.data, chosen.out, chosen.outside)
    return EXIT_OK


def write_average(recipe: Recipe, data: Path, out: Path, outside: float | None = None) -> None:
    """Write the average of the training images to `out`.

    Raises:
        BadRecipe: fewer than three structures are labelled in every case.
    """
    names = names_of(recipe, data, recipe.data.train)

    def read() -> Iterator[Pair]:
        for number, name in enumerate(names, 1):
            if number % REPORT_EVERY_CASES == 0:
                say(f"{number} of {len(names)} cases")
            pair = read_pair(recipe, data, name)
            if not pair.is_negative:  # it has nothing to be aligned by
                yield pair

    if outside is None:
        outside = AIR_HU if recipe.input.modality == "CT" else 0.0
    mean = average(read, landmarks(recipe), recipe.grid.spacing_mm_zyx, outside)
    write(mean, out)
    say(f"{out.name}: {len(names)} cases, {mean.grid.shape} voxels")


def _plan(chosen: argparse.Namespace) -> int:
    recipe = plan_folder(
        chosen.data, chosen.task, chosen.modality, chosen.out, is_forced=chosen.force, say=say
    )
    if chosen.json:
        show(msgspec.json.encode(recipe).decode())
    say(f"{chosen.out.with_suffix('.data.html').name}: the data set in numbers")
    say(f"{chosen.out.name}: patch {recipe.grid.patch_zyx}, {len(recipe.strides_zyx)} stages")
    say(f"Fill in every {UNKNOWN_CODE!r} of {chosen.out.name}, and set its gates.")
    return EXIT_OK
