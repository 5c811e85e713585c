"""How a training begins: its first line, and a package as the run that it continues."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from kd.commands.output import in_words, say
from kd.data.content import contents_of
from kd.data.device import CPU
from kd.evaluation.held_out import cases_used
from kd.recipe.read import Recipe
from kd.release.pages import packaged_recipe
from kd.release.unpack import unpack
from kd.training.checkpoints import CHECKPOINT
from kd.training.estimate import RunEstimate, training_seconds
from kd.training.tasks import TrainingTask, batches_of
from kd.training.trainer import pick_device
from node.package import Manifest, load

MANIFEST = "manifest.json"  # in the folder of a package
BATCHES = 8  # from which batch norms get their statistics


def say_start(
    recipe: Recipe,
    tasks: Mapping[Path, TrainingTask],
    device: str,
    estimates: Sequence[RunEstimate] | None = None,
) -> None:
    """Write one line for each training: device, threads, cases, parameters, budget and time.

    Args:
        recipe: with the budget of the trainings.
        tasks: by the folder of the run.
        device: as given to `pick_device`.
        estimates: of the trainings; None: one step of each network is measured here.

    Raises:
        BadDevice: torch cannot compute on the device.
    """
    on, count = pick_device(device), torch.get_num_threads()
    threads = f", {count} thread{'' if count == 1 else 's'}" if on.type == "cpu" else ""
    left = training_seconds(recipe, tasks, device) if estimates is None else estimates
    # the time of synthetic images and of a teacher that is evaluated on them is not measured
    about = "about" if recipe.generator is None else "at least"
    for (run, task), one in zip(tasks.items(), left, strict=True):
        choice = recipe.training_of(task.size)
        budget = f"{choice.minutes:g} minutes" if choice.steps is None else f"{choice.steps} steps"
        teacher = "labels and teacher" if task.is_distilled else "labels"
        learns = f"{len(task.names)} cases, {teacher}, {one.parameters / 1e6:.2f} M parameters"
        time_left = f"{about} {in_words(one.seconds)} left"
        say(f"{run.name}: {on}{threads}, {learns}, {budget}, {time_left}")
    if len(left) > 1:
        say(f"{about.capitalize()} {in_words(sum(one.seconds for one in left))} for all of them")


def norm_images(recipe: Recipe, data: Path, names: Sequence[str]) -> list[Tensor]:
    """Return batches of a training, from which batch norms get their statistics.

    Raises:
        KdError: a case cannot be used.
    """
    task = TrainingTask(recipe.sizes_in_order[0], tuple(names))
    batches, _ = batches_of(recipe, data, task, CPU)
    return [batches.at(step, recipe.augment).image_bczyx for step in range(BATCHES)]


def cases_of(
    manifest: Manifest, recipe: Recipe, data: Path, names: Sequence[str]
) -> tuple[str, ...]:
    """Return the training cases of a package that names none; nothing if it names them.

    Args:
        manifest: of the package.
        recipe: of a data set.
        data: its folder.
        names: its cases.

    Raises:
        BadRecipe: the package does not list all of its training images.
        BadCase: an image cannot be read.
    """
    packaged = packaged_recipe(manifest).data
    if packaged.cases.get(packaged.train):
        return ()
    return cases_used(manifest, contents_of(recipe.data, data, names))


def start_of(
    start: Path | None, runs: Path, recipe: Recipe, data: Path, names: Sequence[str]
) -> Path | None:
    """Return the folder of runs that `--start` names; a package is unpacked below `runs` first.

    Batch norms of a package are folded into its convolutions. They get statistics again, from
    batches of the training that begins here. The digests of the weights are in the runs' records.

    Args:
        start: a folder of runs, or that of a package; None: nothing to continue.
        runs: where the runs of a package are written; they are kept, so that a call can be resumed.
        recipe: of the training that begins.
        data: its data set.
        names: its training cases.

    Raises:
        KdError: the package has no list of its training cases, or cannot be read.
    """
    if start is None or not (start / MANIFEST).is_file():
        return start
    package = load(start)
    into = runs / f"{package.manifest.task}-{package.manifest.version}"
    if any(into.glob(f"*/{CHECKPOINT}")):
        return into
    images = norm_images(recipe, data, names)
    written = unpack(package, into, images, cases_of(package.manifest, recipe, data, names))
    say(f"{package.name}: {len(written)} networks unpacked into {into}")
    return into
