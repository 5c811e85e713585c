"""An nnU-Net v2 results folder as a teacher: its plan as a recipe, its folds as runs.

Promises: nothing in the folder is executed (weights_only; numbers and names alone). A case counts
as held out only where nnU-Net's own split shows it; everything unknown counts as used in training.
"""

import re
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
import torch

from kd.errors import BadTeacher
from kd.networks.nnunet_weights import weights_of
from kd.networks.oriented import DESCRIPTION, ImportedNetwork
from kd.networks.unet import UNet
from kd.planning.dataset import case_names, raw_data
from kd.planning.nnunet_plans import Results, intensity_of, topology_of, triple
from kd.planning.plan import (
    ANISOTROPIC,
    family,
    planned_gates,
    planned_training,
    refuse_existing,
    uncoded,
    write_recipe,
    write_splits,
)
from kd.recipe.choices import Data, Triple
from kd.recipe.read import UNKNOWN_CODE, Recipe
from kd.records import Run
from kd.training.checkpoints import Checkpoint, write_checkpoint
from kd.training.runs import fold_run
from node.errors import NodeError
from node.imaging.nifti import read_volume
from node.imaging.orient import Orientation, Turn, turn_of
from node.package.manifest import Input, ModelGrid, Range

RESAMPLING, CUBIC = "resample_data_or_seg_to_shape", 3  # nnU-Net's defaults for images


def import_folder(
    results: Results,
    data: Path,
    words: tuple[Literal["MR", "CT"], str],
    runs: Path,
    out: Path,
    *,
    is_forced: bool = False,
) -> Recipe:
    """Write every fold as a run below `runs`, a recipe to `out` and a split file beside it.

    All cases of `imagesTr` become training cases: the ensemble of the folds was trained on each of
    them. The test cases are those of `imagesTs`, where `labelsTs` has their labels; otherwise a
    person adds some that no fold was trained on.

    Args:
        results: from `read_results`.
        data: the raw data set; the network was trained in the axis order of its images.
        words: modality of the images, which nnU-Net does not record, and name of the task.
        runs: where `teacher_0`, `teacher_1` … are written, as `kd teach` would.
        out: the recipe, YAML.
        is_forced: replace a recipe that exists.

    Raises:
        BadRecipe: the recipe exists.
        BadTeacher: there is no trained fold, or one that does not fit its own plan or the data.
    """
    refuse_existing(out, is_forced=is_forced)
    where = raw_data(data, results.ending)
    topology, names = topology_of(results), _cases(data, where)
    turn = _turn(data / where.images / f"{names[0]}{where.image_ending}")
    forward: list[int] = results.plans["transpose_forward"]
    # axis i of the network is file axis forward[i]; canonical axis j is file axis turn.axes[j]
    axes = tuple(turn.axes.index(f) for f in forward)
    folds = sorted(results.folder.glob("fold_*/checkpoint_final.pth"))
    if not folds:
        raise BadTeacher("there is no fold_*/checkpoint_final.pth: no fold is finished")
    for number, path in enumerate(folds):
        held = _held_out(path.parent, results.ending)
        if strange := sorted(held - set(names)):
            message = f"{path.parent.name} was validated on {strange[0]}, which {data.name} lacks"
            raise BadTeacher(message, advice="Give --data the data set that it was trained on")
        imported = ImportedNetwork(
            topology=topology,
            n_classes=len(results.labels) + 1,
            axes=(axes[0], axes[1], axes[2]),
            held_out=tuple(sorted(held)),
            source=f"{results.folder.name}/{path.parent.name}",
        )
        used = [name for name in names if name not in held]
        _write_run(imported, used, path, fold_run(runs, number))
    recipe = _recipe(results, imported, _orientation(turn), words)
    ending = where.image_ending
    test = [] if where.test_images is None else case_names(data, where.test_images, ending)
    splits = write_splits({where.train: names, where.test: test}, out)
    recipe = msgspec.structs.replace(
        recipe,
        data=msgspec.structs.replace(where, splits=splits),
        folds=len(folds),
        released_teacher="ensemble" if len(folds) > 1 else "trained",
    )
    write_recipe(recipe, out)
    return recipe


def _held_out(fold: Path, ending: str) -> set[str]:
    """Return the cases that a fold was certainly not trained on.

    nnU-Net writes its predictions of a fold's validation cases to `validation`. `fold_all` is
    trained on every case and validated on the same ones. A folder of another name is unknown.
    """
    if not re.fullmatch(r"fold_[0-9]+", fold.name):
        return set()
    paths = (fold / "validation").glob(f"*{ending}")
    return {path.name.removesuffix(ending) for path in paths}


def _cases(data: Path, where: Data) -> list[str]:
    names = case_names(data, where.images, where.image_ending)
    if not names:
        message = f"{data.name} has no {where.images}/*{where.image_ending}"
        raise BadTeacher(message, advice="Give --data the folder nnUNet_raw/DatasetNNN_NAME")
    return names


def _write_run(imported: ImportedNetwork, used: list[str], path: Path, run: Path) -> None:
    network = UNet(imported.topology, imported.n_classes)
    weights = {k: torch.zeros_like(v) for k, v in network.state_dict().items() if "bias" in k}
    weights |= weights_of(path, imported.topology)  # a convolution may have no bias: then it is 0
    try:
        network.load_state_dict(weights)
    except RuntimeError as exc:
        message = f"{imported.source} does not fit the plan beside it"
        raise BadTeacher(message) from exc
    run.mkdir(parents=True, exist_ok=True)
    (run / DESCRIPTION).write_bytes(msgspec.json.format(msgspec.json.encode(imported)) + b"\n")
    record = Run(cases=tuple(used), source=imported.source)
    write_checkpoint(Checkpoint(record, network.state_dict()), run)


def _recipe(
    results: Results,
    imported: ImportedNetwork,
    orientation: Orientation,
    words: tuple[Literal["MR", "CT"], str],
) -> Recipe:
    modality, task = words
    spacing, patch, strides = (
        _canonical(values, imported.axes)
        for values in (
            results.configuration["spacing"],
            results.configuration["patch_size"],
            list(zip(*imported.topology.strides_zyx, strict=True)),
        )
    )
    resampling = results.configuration.get("resampling_fn_data_kwargs") or {}
    if results.configuration.get("resampling_fn_data", RESAMPLING) != RESAMPLING or (
        resampling.get("order", CUBIC) != CUBIC
    ):
        raise BadTeacher("only nnU-Net's default resampling, cubic, can be imported")
    if max(spacing) / min(spacing) > ANISOTROPIC:
        raise BadTeacher("nnU-Net resamples slices this thick separately, and the node does not")
    shape = np.array(results.plans["original_median_shape_after_transp"], float)
    extent = shape * np.array(results.plans["original_median_spacing_after_transp"])
    stages = tuple(triple(s) for s in zip(*strides, strict=True))
    sizes = family(imported.topology.widths[0], stages)
    return Recipe(
        task=task,
        title=task,
        intended_use=UNKNOWN_CODE,
        data=Data(),  # `import_folder` fills it in
        input=Input(
            modality=modality,
            spacing_mm=Range(low=min(spacing) / 2, high=max(spacing) * 2),
            field_of_view_mm=Range(low=float(extent.min()) / 2, high=float(extent.max()) * 2),
            slices=Range(low=1, high=10_000),
        ),
        grid=ModelGrid(
            orientation=orientation,
            spacing_mm_zyx=(spacing[0], spacing[1], spacing[2]),
            patch_zyx=(int(patch[0]), int(patch[1]), int(patch[2])),
        ),
        intensity=intensity_of(results),
        segments=tuple(uncoded(n, name) for n, name in sorted(results.labels.items())),
        strides_zyx=stages,
        sizes=sizes,
        training=planned_training(len(results.labels) + 1),
        gates=planned_gates(sizes),
    )


def _turn(like: Path) -> Turn:
    try:
        return turn_of(read_volume(like).grid)
    except NodeError as exc:
        raise BadTeacher(f"{like.name}: {exc.message}") from exc


def _orientation(turn: Turn) -> Orientation:
    """Return the directions of the files: where LPS would flip an axis, the opposite letter."""
    letters = ["SI"[turn.flips[0]], "PA"[turn.flips[1]], "LR"[turn.flips[2]]]
    return msgspec.convert("".join(reversed(letters)), Orientation)


def _canonical(values: Any, axes: Triple) -> list[Any]:
    """Reorder one value per network axis to one per canonical axis."""
    return [values[axes.index(a)] for a in range(3)]
