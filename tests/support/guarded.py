"""A released package with the rules that its recipe has now, as the next release will have them.

The networks are those of the release. `regions` and `expect` need no training, so a recipe may be
ahead of its package.
"""

import shutil
from pathlib import Path

import msgspec

from kd.recipe.read import read_recipe
from node.package import Package
from node.package.folder import write_manifest
from tests.support.anatomy import released

RECIPES = Path(__file__).parents[2] / "kd" / "recipes"


def guarded(task: str, folder: Path) -> Package:
    """Copy the newest package of a task to `folder`, with `regions` and `expect` of its recipe."""
    package, recipe = released(task), read_recipe(RECIPES / f"{task}.yaml")
    shutil.copytree(package.folder, folder)
    manifest = msgspec.structs.replace(
        package.manifest, regions=recipe.regions, expect=recipe.expect
    )
    return write_manifest(manifest, folder)
