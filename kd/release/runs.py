"""What a release is made from: finished runs, checked, exported and told of.

Promises: no run is measured that another recipe made, that saw a test case, or that stopped before
its budget was spent. Leaves to `kd.release.release`: the package.
"""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from kd.data.cases import Case, Pair
from kd.errors import BadCheckpoint
from kd.evaluation.validate import Score, Validation, compare
from kd.networks.export import Exported, export
from kd.recipe.choices import Triple
from kd.recipe.read import Recipe
from kd.release.command import noted
from kd.training.runs import fold_run, open_run, open_runs
from kd.training.steps import Say
from kd.training.tasks import agree, binding, cases_used_by, lineage
from kd.training.trainer import CHECKPOINT, is_finished
from node.imaging.volume import FloatArray
from node.package import Package
from node.package.manifest import Segment, SizeName

# of a training: a command line may choose these, and a release says what they were
OF_THE_COMMAND = ("seed", "steps", "minutes", "checkpoint_every_s")


@dataclass(frozen=True)
class Order:
    """What a release is made from."""

    recipe: Recipe
    version: str
    runs: dict[SizeName, tuple[Path, ...]]  # checkpoints of each size; several are an ensemble
    runs_folder: Path  # of the ensemble's folds
    compared: dict[str, tuple[SizeName, Path]]  # name -> other runs of a size: undistilled, seeds
    maps: dict[str, str]  # folder of soft targets -> the command that wrote it
    reference_image: Path
    reference_notice: Path  # licence of the reference image
    commit: str
    created: str  # ISO 8601 date
    command: str  # as typed, for the card

    @property
    def by_name(self) -> dict[str, tuple[SizeName, tuple[Path, ...]]]:
        """Size and folders of every run, released ones by their size."""
        found = {str(size): (size, folders) for size, folders in self.runs.items()}
        return found | {name: (size, (run,)) for name, (size, run) in self.compared.items()}


@dataclass(frozen=True, eq=False)
class ExternalScores:
    """Cases of another source, the segments that its reference knows, and the sizes' scores."""

    pairs: Sequence[Pair]
    segments: Sequence[Segment]
    found: Validation


@dataclass(frozen=True)
class Made:
    """One exported network and the story of its training."""

    exported: Exported
    training: dict[str, Any]  # steps, seconds, seed, budget, terms, command


def stories_of(order: Order) -> dict[str, list[dict[str, Any]]]:
    """Return what is known of the networks of every run, released or compared, by its name.

    Raises:
        KdError: a run has no checkpoint, or one that does not fit.
    """
    return {
        name: [open_run(order.recipe, size, run, torch.device("cpu"))[1] for run in folders]
        for name, (size, folders) in order.by_name.items()
    }


def refuse_foreign(
    order: Order, stories: Mapping[str, Sequence[dict[str, Any]]], tested: Sequence[str]
) -> None:
    """Refuse runs that this recipe did not make, that saw a test case, or that are not finished.

    Raises:
        BadCheckpoint: of the first such run, which is named.
    """
    runs = [
        (name, size, run, story)
        for name, (size, folders) in order.by_name.items()
        for run, story in zip(folders, stories[name], strict=True)
    ]
    for name, size, run, story in runs:
        choices = story["choices"]
        if seen := sorted(set(tested) & cases_used_by(story)):
            who = f"run {run.name}, or one that it learnt from,"
            message = f"{who} was trained on test case {seen[0]} and {len(seen) - 1} more"
            raise BadCheckpoint(message, advice="Train them again, with today's split file")
        if choices["training"] is None:  # imported: its recipe was written from it
            continue
        if not is_finished(story):
            message = f"run {run.name} stopped at step {story['step']}, before its budget was spent"
            raise BadCheckpoint(message, advice="The command that began it finishes it")
        wanted = binding(order.recipe, size)
        if key := _foreign(choices, wanted, is_released=name in order.runs):
            message = f"run {run.name} was trained with another {key} than the recipe has"
            raise BadCheckpoint(message, advice="Train it again, or give the recipe it had")


def _foreign(
    choices: Mapping[str, Any], wanted: Mapping[str, Any], *, is_released: bool
) -> str | None:
    """Return the first choice in which a run differs from the recipe, if there is one."""
    for key in ("topology", "n_classes", "grid", "intensity", "augment"):
        if choices[key] != wanted[key]:
            return key
    if not agree(choices.get("generator"), wanted.get("generator")):
        return "generator"
    # older code had no such key, and nobody knows what it was then
    if "partial" in choices and choices["partial"] != wanted.get("partial"):
        return "partial"
    # what is compared with the released runs may have been trained in any way
    if is_released and not agree(choices["training"], wanted["training"], OF_THE_COMMAND):
        return "training"
    return None


def export_runs(
    recipe: Recipe, size: str, runs: Sequence[Path], cases: Sequence[Case], path: Path
) -> Made:
    """Write the network of a run, or the ensemble of several, to `path` and tell its training."""
    network, stories = open_runs(recipe, size, runs, torch.device("cpu"))
    patch = recipe.grid.patch_zyx
    exported = export(network, patch, real_patches(cases, patch), path)
    told = [told_of(story, noted(runs[0]) or "not recorded") for story in stories]
    if len(told) == 1:
        return Made(exported, told[0])
    whole = {key: sum(one[key] for one in told) for key in ("steps", "seconds")}
    return Made(exported, told[0] | whole | {"networks": len(told)})


def ensemble(order: Order) -> dict[str, Any]:
    """Tell the training of the networks whose maps teach, where they were trained here."""
    size, found = order.recipe.fold_size, []
    for number in range(order.recipe.folds):
        run = fold_run(order.runs_folder, number)
        if (run / CHECKPOINT).exists():
            story = open_run(order.recipe, size, run, torch.device("cpu"))[1]
            if story["choices"]["training"] is not None:
                found.append(told_of(story, ""))
    return {"size": size, "folds": found}


def compared_runs(
    order: Order,
    package: Package,
    found: Validation,
    cases: tuple[Sequence[Case], Sequence[Pair]],
    abroad: Mapping[str, ExternalScores],
    say: Say,
) -> tuple[dict[str, Any], dict[str, list[Score]]]:
    """Measure the runs that are not released, such as undistilled twins, on the same cases.

    `abroad` are those of other sources, by name, with what the released sizes reached there.
    """
    aside = package.folder.with_name(f"{package.folder.name}.compared")
    aside.mkdir(exist_ok=True)
    numbers, singles = {}, {}
    for name, (size, run) in order.compared.items():
        path = aside / package.manifest.sizes[size].file
        exported = export_runs(order.recipe, size, [run], cases[0], path)
        loose = Package(package.manifest, aside, "")
        measured, singles[name] = compare(loose, size, cases[1], found)
        numbers[name] = {"size": size, "training": exported.training} | measured
        say(f"{name}: mean Dice {measured['dice']['mean']:.4f}")
        for source, there in abroad.items():
            away, _ = compare(loose, size, there.pairs, there.found, there.segments)
            numbers[name].setdefault("elsewhere", {})[source] = away
            say(f"{name}, {source}: mean Dice {away['dice']['mean']:.4f}")
    shutil.rmtree(aside)
    return numbers, singles


def told_of(story: dict[str, Any], command: str) -> dict[str, Any]:
    """Return what a card tells of a run and of those that it started from, the first one first."""
    whole = lineage(story)
    runs = [
        _budget(one["choices"]["training"] or {})
        | {"distilled": one["choices"]["distillation"] is not None}
        for one in reversed(whole)
    ]
    # the last one that heard a teacher tells of it
    taught = next((one for one in whole if one["choices"]["distillation"] is not None), story)
    return {
        "steps": sum(int(one["step"]) for one in whole),
        "seconds": round(sum(float(one["seconds"]) for one in whole), 1),
        "distilled": any(one["distilled"] for one in runs),
        "terms": taught["choices"]["distillation"],
        "teacher": taught["choices"].get("teacher"),
        "start": (story["choices"].get("start") or {}).get("weights"),
        # only a run that starts from no other can inherit
        "inherits": (whole[-1]["choices"].get("inherits") or {}).get("weights"),
        "seed": runs[-1]["seed"],
        "runs": runs,
        "command": command,
    }


def _budget(training: Mapping[str, Any]) -> dict[str, Any]:
    """Return seed and budget of one run; an imported one has neither."""
    return {key: training.get(key) for key in ("seed", "steps", "minutes")}


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
