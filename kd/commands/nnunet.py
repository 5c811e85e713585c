"""`kd import` and `kd distil-nnunet`: from a trained nnU-Net to a recipe, and to a package."""

import argparse
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from kd.commands.arguments import absolute, task_name, version
from kd.commands.output import (
    EXIT_OK,
    EXIT_UNFINISHED,
    Commands,
    in_words,
    progress_lines,
    say,
    show,
    show_table,
)
from kd.commands.plans import write_average
from kd.commands.publishing import Publication, publish, show_package
from kd.commands.starting import say_start
from kd.commands.training import add_session, limits_of, with_budget
from kd.data.average import landmarks
from kd.data.cases import read_cases
from kd.data.soft_targets import missing_maps
from kd.data.splits import names_of, read_splits
from kd.errors import BadRecipe, BadTeacher
from kd.networks.imported import read_imported_network
from kd.planning.nnunet import NO_TEST_CASE, Import, import_folder
from kd.planning.nnunet_plans import read_results
from kd.recipe.read import TEACHER, UNKNOWN_CODE, Recipe, read_recipe
from kd.release.command import note
from kd.release.release import unfilled
from kd.training import estimate, steps
from kd.training.estimate import RunEstimate
from kd.training.runs import fold_run
from kd.training.tasks import SOFT, TrainingTask, student_task
from kd.training.trainer import Slice, pick_device

RECIPE, RUNS, MODELS = "recipe.yaml", "runs", "models"  # in the folder of kd distil-nnunet
AVERAGE, NOTICE = "reference.nii.gz", "reference_licence.txt"
RESUME = "not finished; run the same command again to resume"


def add_to(commands: Commands) -> None:
    """Add the commands of this module."""
    take = commands.add_parser(
        "import", help="take an nnU-Net v2 results folder as the teacher; writes recipe and runs"
    )
    add_nnunet(take)
    take.add_argument("--runs", type=absolute, required=True, help="where the folds are written")
    take.add_argument("--out", type=Path, required=True, help="the recipe, YAML")
    take.add_argument("--force", action="store_true", help="replace a recipe that exists")
    take.add_argument("--json", action="store_true", help="the recipe as JSON on the output")
    take.set_defaults(run_command=_import)

    whole = commands.add_parser(
        "distil-nnunet",
        help="import an nnU-Net, write soft targets, train students and baselines, release them; "
        "the same command resumes",
    )
    add_nnunet(whole)
    whole.add_argument(
        "--into", type=absolute, help="folder of recipe, runs and package (default: --task)"
    )
    add_session(whole)
    whole.add_argument(
        "--version", type=version, default="1.0", help="of the package (default: 1.0)"
    )
    whole.add_argument(
        "--reference-image",
        type=Path,
        help="image of the reference case, which anybody may see (default: the average of the "
        "training images)",
    )
    whole.add_argument("--notice", type=Path, help="licence of that image")
    whole.set_defaults(run_command=_distil)


def add_nnunet(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that name a trained nnU-Net."""
    parser.add_argument("results", type=absolute, help="folder TRAINER__PLANS__CONFIGURATION")
    parser.add_argument("--configuration", help="if the folder's name does not say it")
    parser.add_argument("--data", type=absolute, required=True, help="nnUNet_raw/DatasetNNN_NAME")
    parser.add_argument("--task", type=task_name, required=True, help="such as hippocampus-mr")
    parser.add_argument(
        "--modality", choices=("MR", "CT"), help="if the channel's name does not show it"
    )
    parser.add_argument(
        "--fold",
        action="append",
        default=[],
        help="number of a fold, or all; may be repeated (default: every finished fold)",
    )
    parser.add_argument(
        "--splits", type=Path, help="nnU-Net's splits_final.json, if it is not where nnU-Net put it"
    )


def nnunet_import(chosen: argparse.Namespace) -> Import:
    """Return what the arguments of `add_nnunet` name.

    Raises:
        BadTeacher: the folder cannot be imported, or its modality is unknown.
    """
    results = read_results(chosen.results, chosen.configuration)
    modality = chosen.modality or results.modality
    if modality is None:
        message = f"the channel of {chosen.results.name} does not show whether it is MR or CT"
        raise BadTeacher(message, advice="Give --modality MR or --modality CT")
    folds = tuple(chosen.fold)
    return Import(results, chosen.data, modality, chosen.task, folds, chosen.splits)


def _import(chosen: argparse.Namespace) -> int:
    order = nnunet_import(chosen)
    recipe = import_folder(order, chosen.runs, chosen.out, is_forced=chosen.force)
    if chosen.json:
        show(msgspec.json.encode(recipe).decode())
    networks = "1 network" if recipe.folds == 1 else f"{recipe.folds} networks"
    say(f"{networks} imported; kd teach writes their soft targets.")
    say(f"Fill in every {UNKNOWN_CODE!r} of {chosen.out.name}, and set its gates.")
    test = read_splits(Path(recipe.data.splits)).get(recipe.data.test, ())
    say(f"{len(test)} test cases, which no imported fold was trained on." if test else NO_TEST_CASE)
    return EXIT_OK


@dataclass
class _Session:
    """One call of `kd distil-nnunet`: its folders, its device and its time."""

    data: Path
    into: Path
    limits: Slice
    as_json: bool

    @property
    def runs(self) -> Path:
        """Folder of the teacher's folds, soft targets, students and baselines."""
        return self.into / RUNS

    def report_of(self, run: Path) -> steps.Report:
        """Return the progress report of one run."""
        return progress_lines(run.name, as_json=self.as_json)


def _distil(chosen: argparse.Namespace) -> int:
    into = chosen.into or Path(chosen.task)
    session = _Session(chosen.data, into, limits_of(chosen), chosen.json)
    pick_device(chosen.device)  # a wrong one is refused before anything is written
    recipe = with_budget(_imported(chosen, into), chosen)
    if (chosen.reference_image is None) != (chosen.notice is None):
        message = "--reference-image and --notice belong together"
        raise BadRecipe(message, advice="Give both, or neither for the average image")
    if chosen.reference_image is None:
        landmarks(recipe)
    package = into / MODELS / recipe.task / chosen.version
    if package.exists():
        say(f"{package} is released already; another --version makes the next release")
        return EXIT_OK
    for missing in unfilled(recipe):
        say(f"{into / RECIPE}: {missing} before the release.")
    if not _trained(session, recipe, chosen.typed):
        say(RESUME)
        return EXIT_UNFINISHED
    recipe = with_budget(read_recipe(into / RECIPE), chosen)  # a person may have edited it
    if unfilled(recipe):
        say(f"Training is finished. Fill in every {UNKNOWN_CODE!r} of {into / RECIPE}.")
        say("Then run the same command again: it releases the package.")
        return EXIT_UNFINISHED
    if session.limits.is_over():
        say(f"Training is finished, and the time of this call is over: {RESUME}")
        return EXIT_UNFINISHED
    _release(session, recipe, chosen)
    return EXIT_OK


def _imported(chosen: argparse.Namespace, into: Path) -> Recipe:
    """Import the nnU-Net into the folder, unless an earlier call did; return the recipe.

    Raises:
        BadTeacher: the folder is of another nnU-Net.
    """
    order, path = nnunet_import(chosen), into / RECIPE
    if not path.exists():
        into.mkdir(parents=True, exist_ok=True)
        recipe = import_folder(replace(order, requires_test=True), into / RUNS, path)
        networks = "1 network" if recipe.folds == 1 else f"{recipe.folds} networks"
        say(f"{networks} imported; the recipe is {path}")
        return read_recipe(path)
    imported = read_imported_network(fold_run(into / RUNS, 0))
    if imported is None or imported.source.split("/")[0] != order.results.folder.name:
        message = f"folder {into} is of another nnU-Net than {order.results.folder.name}"
        raise BadTeacher(message, advice="Give another --into")
    recipe = read_recipe(path)
    if recipe.task != chosen.task:
        message = f"folder {into} has task {recipe.task}, not {chosen.task}"
        raise BadTeacher(message, advice="Give another --into")
    return recipe


def _trained(session: _Session, recipe: Recipe, typed: str) -> bool:
    """Write the soft targets and train the family; return whether everything is finished."""
    names = names_of(recipe, session.data, recipe.data.train)
    students = [size for size in recipe.sizes_in_order if size != TEACHER]
    tasks = {}
    for size in students:
        tasks[session.runs / size] = student_task(recipe, size, names, session.runs, None)
        tasks[session.runs / f"{size}-baseline"] = TrainingTask(size, names)
    left = _show_estimate(session, recipe, tasks)
    soft = session.runs / SOFT
    if missing_maps(names, soft):
        here, runs = session.limits, steps.Runs(session.runs)
        if not steps.train_teacher(recipe, session.data, runs, limits=here, say=say):
            return False
    for folder in (soft, *(fold_run(session.runs, n) for n in range(recipe.folds))):
        note(folder, typed)
    say_start(recipe, tasks, session.limits.device, left)
    outcomes = steps.train_all(
        recipe, session.data, tasks, limits=session.limits, report_of=session.report_of
    )
    for run in outcomes:
        note(run, typed)
    return all(outcome.finished for outcome in outcomes.values())


def _show_estimate(
    session: _Session, recipe: Recipe, tasks: dict[Path, TrainingTask]
) -> list[RunEstimate]:
    """Write how much time is left, from one measured step of each network; return it by run."""
    names = names_of(recipe, session.data, recipe.data.train)
    missing, device = missing_maps(names, session.runs / SOFT), session.limits.device
    (case,) = read_cases(recipe, session.data, names[:1])
    soft_s = estimate.soft_target_seconds(recipe, case, session.runs, missing, device)
    left = estimate.training_seconds(recipe, tasks, device, say)
    rows = [["soft targets", "", f"{len(missing)} cases", in_words(soft_s)]]
    for one in left:
        size = f"{one.parameters / 1e6:.2f} M"
        rows.append([one.name, size, f"{one.steps} steps", in_words(one.seconds)])
    if not session.as_json:
        show_table(["left", "parameters", "", "time"], rows)
    total = in_words(soft_s + sum(one.seconds for one in left))
    say(f"About {total} left on {pick_device(device)}, and the release after that.")
    return left


def _release(session: _Session, recipe: Recipe, chosen: argparse.Namespace) -> None:
    """Measure and release the family, with its baselines for comparison."""
    image, notice = chosen.reference_image, chosen.notice
    if image is None:
        image, notice = session.into / AVERAGE, session.into / NOTICE
        if not image.exists():
            write_average(recipe, session.data, image)
        notice.write_text(
            f"Average of the training images of: {recipe.data.source}\n"
            f"Licence: {recipe.data.licence}\n",
            encoding="utf-8",
        )
    students = [size for size in recipe.sizes_in_order if size != TEACHER]
    publication = Publication(
        version=chosen.version,
        models=session.into / MODELS,
        reference_image=image,
        notice=notice,
        compared={f"{s}-baseline": (s, session.runs / f"{s}-baseline") for s in students},
        command=chosen.typed,
    )
    show_package(publish(recipe, session.data, session.runs, publication))
