"""The runs of a release: checked, exported, and their training summarised.

Promises: a run of another recipe, a run that was trained on a test case, and a run that stopped
before its budget was spent are refused. Leaves to `kd.release.release`: the package.
"""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from kd.data.cases import Case, Pair
from kd.data.content import content_of, contents_in, same_image
from kd.data.device import CPU
from kd.errors import BadCheckpoint, BadSplit
from kd.evaluation.scores import Score
from kd.evaluation.validate import Validation, compare
from kd.networks.export import Exported, export
from kd.networks.unet import UNet
from kd.recipe.choices import Triple
from kd.recipe.read import Recipe
from kd.records import (
    Budget,
    Choices,
    ComparedAccuracy,
    Comparison,
    EnsembleReport,
    Run,
    TrainingReport,
)
from kd.release.command import noted
from kd.training.checkpoints import CHECKPOINT
from kd.training.runs import fold_run, open_run, open_runs
from kd.training.steps import Say
from kd.training.tasks import choices_of
from node.imaging.volume import FloatArray
from node.package import Package
from node.package.manifest import Segment, SizeName

# choices of a training that the command line may replace; the report states them
OF_THE_COMMAND = ("seed", "steps", "minutes", "checkpoint_every_s")


@dataclass(frozen=True)
class ReleaseOrder:
    """Everything that a release is made from."""

    recipe: Recipe
    version: str
    runs: dict[SizeName, tuple[Path, ...]]  # checkpoints of each size; several are an ensemble
    runs_folder: Path  # of the ensemble's folds
    compared: dict[str, tuple[SizeName, Path]]  # name -> a run that is measured, not released
    soft_targets: dict[str, str]  # folder of soft targets -> the command that wrote it
    reference_image: Path
    reference_notice: Path  # licence of the reference image
    commit: str
    created: str  # ISO 8601 date
    command: str  # as typed, for the card
    # content of each training image (kd.data.content); None: the images are synthetic
    contents: dict[str, str] | None = None

    @property
    def by_name(self) -> dict[str, tuple[SizeName, tuple[Path, ...]]]:
        """Size and folders of every run, released ones by their size."""
        released = {str(size): (size, folders) for size, folders in self.runs.items()}
        return released | {name: (size, (run,)) for name, (size, run) in self.compared.items()}


@dataclass(frozen=True, eq=False)
class ExternalScores:
    """The pairs of an external data set, the segments of its reference, and the sizes' scores."""

    pairs: Sequence[Pair]
    segments: Sequence[Segment]
    released: Validation


@dataclass(frozen=True)
class ExportedRun:
    """One exported network and how it was trained."""

    exported: Exported
    training: TrainingReport


def histories_of(order: ReleaseOrder) -> dict[str, list[Run]]:
    """Return the records of the networks of every run, released or compared, by its name.

    Raises:
        KdError: a run has no checkpoint, or one that does not fit.
    """
    return {
        name: [open_run(order.recipe, size, run, CPU)[1] for run in folders]
        for name, (size, folders) in order.by_name.items()
    }


def refuse_unfit_runs(
    order: ReleaseOrder, histories: Mapping[str, Sequence[Run]], tested: Sequence[str]
) -> None:
    """Refuse runs of another recipe, runs trained on a test case, and unfinished runs.

    Raises:
        BadCheckpoint: of the first such run; the message names it.
    """
    runs = [
        (name, size, run, history)
        for name, (size, folders) in order.by_name.items()
        for run, history in zip(folders, histories[name], strict=True)
    ]
    for name, size, run, history in runs:
        if used := history.not_held_out(tested):
            who = f"run {run.name}, or one of its ancestors,"
            message = f"{who} was trained on test case {used[0]} and {len(used) - 1} more"
            raise BadCheckpoint(message, advice="Train them again, with today's split file")
        if history.choices is None:  # imported: the recipe was written from it
            continue
        if not history.is_finished:
            message = f"run {run.name} stopped at step {history.step}, before its budget was spent"
            raise BadCheckpoint(message, advice="Run the command that began it again: it resumes")
        expected = choices_of(order.recipe, size)
        if key := _differing_key(history.choices, expected, is_released=name in order.runs):
            message = f"run {run.name} was trained with another {key} than the recipe has"
            raise BadCheckpoint(message, advice="Train it again, or give the recipe it had")


def refuse_same_images(
    order: ReleaseOrder, histories: Mapping[str, Sequence[Run]], pairs: Sequence[Pair]
) -> None:
    """Refuse test cases whose image is that of a training case, whatever its name.

    Raises:
        BadSplit: of the first one; the message names both.
    """
    tested = {pair.name: content_of(pair.image) for pair in pairs}
    used = set[str]().union(*(run.cases_used for runs in histories.values() for run in runs))
    if same := same_image(tested, (order.contents or {}) | contents_in(used)):
        message = f"test case {same[0]} has the same image as training case {same[1]}"
        raise BadSplit(message, advice="Remove it from the test cases")


def _differing_key(choices: Choices, expected: Choices, *, is_released: bool) -> str | None:
    """Return the first choice in which a run differs from the recipe, if there is one."""
    for key in ("topology", "n_classes", "grid", "intensity", "augment", "generator", "partial"):
        if getattr(choices, key) != getattr(expected, key):
            return key
    # a run that is only compared may have been trained in any way
    chosen = {key: getattr(choices.training, key) for key in OF_THE_COMMAND}
    training = msgspec.structs.replace(expected.training, **chosen)
    return "training" if is_released and choices.training != training else None


def export_runs(
    recipe: Recipe, size: str, runs: Sequence[Path], cases: Sequence[Case], path: Path
) -> ExportedRun:
    """Write the network of a run, or the ensemble of several, to `path`."""
    network, histories = open_runs(recipe, size, runs, CPU)
    for layer in network.modules():
        if isinstance(layer, UNet) and recipe.mirror:
            layer.average_mirror_images(recipe.mirrored_classes)
    patch = recipe.grid.patch_zyx
    exported = export(network, patch, real_patches(cases, patch), path)
    command = noted(runs[0]) or "not recorded"
    reports = [training_report(history, command) for history in histories]
    whole = msgspec.structs.replace(
        reports[0],
        steps=sum(one.steps for one in reports),
        seconds=sum(one.seconds for one in reports),
        networks=len(reports),
    )
    return ExportedRun(exported, whole)


def ensemble(order: ReleaseOrder) -> EnsembleReport:
    """Summarise the training of the networks that wrote the soft targets, if trained here."""
    folds = []
    for number in range(order.recipe.folds):
        run = fold_run(order.runs_folder, number)
        if (run / CHECKPOINT).exists():
            history = open_run(order.recipe, order.recipe.fold_size, run, CPU)[1]
            if history.choices is not None:
                folds.append(training_report(history, ""))
    return EnsembleReport(size=order.recipe.fold_size, folds=tuple(folds))


def compared_runs(
    order: ReleaseOrder,
    package: Package,
    released: Validation,
    cases: tuple[Sequence[Case], Sequence[Pair]],
    external: Mapping[str, ExternalScores],
    say: Say,
) -> tuple[dict[str, Comparison], dict[str, list[Score]]]:
    """Measure the runs that are not released, such as baselines, on the same cases.

    `external` has the scores of the released sizes on external data sets, by name.
    """
    aside = package.folder.with_name(f"{package.folder.name}.compared")
    aside.mkdir(exist_ok=True)
    comparisons, scores = {}, {}
    for name, (size, run) in order.compared.items():
        path = aside / package.manifest.sizes[size].file
        exported = export_runs(order.recipe, size, [run], cases[0], path)
        loose = Package(package.manifest, aside, "")
        measured, scores[name] = compare(loose, size, cases[1], released)
        say(f"{name}: mean Dice {measured.dice.mean:.4f}")
        on_external = {}
        for source, one in external.items():
            on_external[source], _ = compare(loose, size, one.pairs, one.released, one.segments)
            say(f"{name}, {source}: mean Dice {on_external[source].dice.mean:.4f}")
        comparisons[name] = _comparison(size, exported.training, measured, on_external)
    shutil.rmtree(aside)
    return comparisons, scores


def _comparison(
    size: SizeName,
    training: TrainingReport,
    measured: ComparedAccuracy,
    external: dict[str, ComparedAccuracy],
) -> Comparison:
    return Comparison(
        size=size,
        training=training,
        external=external,
        **msgspec.structs.asdict(measured),
    )


def training_report(history: Run, command: str) -> TrainingReport:
    """Summarise the training of a run and of all runs that it was continued from."""
    lineage = history.lineage
    budgets = tuple(_budget(one) for one in reversed(lineage))
    # the terms of the last run that had a teacher
    distilled = next((one for one in lineage if one.distillation is not None), history)
    terms = distilled.distillation
    first = lineage[-1]  # only a run that continues no other can inherit
    return TrainingReport(
        steps=sum(one.step for one in lineage),
        seconds=round(sum(one.seconds for one in lineage), 1),
        distilled=any(one.distilled for one in budgets),
        terms=None if terms is None else msgspec.to_builtins(terms),
        teacher=None if distilled.teacher is None else distilled.teacher.digest,
        start=None if history.start is None else history.start.weights,
        inherits=None if first.inherits is None else first.inherits.weights,
        seed=budgets[-1].seed,
        runs=budgets,
        command=command,
    )


def _budget(run: Run) -> Budget:
    """Return the seed and the budget of one run; an imported run has neither."""
    if run.choices is None:
        return Budget(seed=None, steps=None, minutes=None, distilled=False)
    training = run.choices.training
    return Budget(
        seed=training.seed,
        steps=training.steps,
        minutes=training.minutes,
        distilled=run.distillation is not None,
    )


def real_patches(cases: Sequence[Case], patch: Triple, count: int = 4) -> list[FloatArray]:
    """Return the middle patch of the first `count` cases, padded as the pipeline pads."""
    patches = []
    for case in cases[:count]:
        starts = [max(0, (n - p) // 2) for n, p in zip(case.image.array.shape, patch, strict=True)]
        window = case.image.array[
            tuple(slice(s, s + p) for s, p in zip(starts, patch, strict=True))
        ]
        missing = [p - n for p, n in zip(patch, window.shape, strict=True)]
        patches.append(np.pad(window, [(m // 2, m - m // 2) for m in missing]))
    return patches
