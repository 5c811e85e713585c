"""A release from the folders and choices of a command."""

import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

from kd.commands.output import say, show
from kd.data.cases import read_cases, read_pairs
from kd.data.content import contents_of
from kd.data.splits import names_of
from kd.recipe.read import Recipe
from kd.release.command import noted
from kd.release.release import OtherImages, release
from kd.release.runs import ReleaseOrder
from kd.training.runs import released_runs
from node.package import Package
from node.package.manifest import SizeName

PATCH_CASES = 4  # training cases on whose patches torch and ONNX are compared


@dataclass(frozen=True)
class Publication:
    """The choices of one release besides its recipe."""

    version: str
    models: Path
    reference_image: Path
    notice: Path  # licence of that image
    command: str  # as typed
    compared: dict[str, tuple[SizeName, Path]] = field(default_factory=dict)


def publish(
    recipe: Recipe,
    data: Path,
    runs: Path,
    publication: Publication,
    others: OtherImages | None = None,
) -> Package:
    """Measure the finished runs of a recipe and write the package.

    Raises:
        KdError: as `kd.release.release.release`.
    """
    train_names = names_of(recipe, data, recipe.data.train)
    test_names = names_of(recipe, data, recipe.data.test)
    contents = None  # synthetic images exist for one step
    if recipe.generator is None:
        contents = contents_of(recipe.data, data, train_names)
    order = ReleaseOrder(
        recipe=recipe,
        version=publication.version,
        runs={size: released_runs(recipe, runs, size) for size in recipe.sizes_in_order},
        runs_folder=runs,
        compared=publication.compared,
        soft_targets=_soft_targets(runs),
        reference_image=publication.reference_image,
        reference_notice=publication.notice,
        commit=_commit(),
        created=time.strftime("%Y-%m-%d", time.gmtime()),
        command=publication.command,
        contents=contents,
    )
    return release(
        order,
        read_cases(recipe, data, train_names[:PATCH_CASES]),
        read_pairs(recipe, data, test_names),
        publication.models,
        others=others,
        say=say,
    )


def show_package(package: Package) -> None:
    """Write where the package is, and what to do next."""
    show(f"{package.name} is released in {package.folder}; its digest is {package.digest}")
    show(f"Read {package.folder / 'card.md'}, then: segnode models verify")


def _soft_targets(runs: Path) -> dict[str, str]:
    """Return the command of each folder of soft targets among the runs."""
    folders = sorted({path.parent for path in runs.glob("*/*.npy")})
    return {folder.name: noted(folder) or "not recorded" for folder in folders}


def _commit() -> str:
    """Return the commit of the working tree, for the provenance."""
    command = ["git", "rev-parse", "HEAD"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else "unknown"
