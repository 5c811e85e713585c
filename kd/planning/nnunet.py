"""An nnU-Net v2 results folder as a teacher: its plan as a recipe, its folds as runs.

Promises: nothing in the folder is executed (weights_only; numbers and names alone). A case counts
as held out only where nnU-Net's own split shows it; everything unknown counts as used in training.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
import torch
from torch import Tensor

from kd.data.content import contents_of, same_image
from kd.errors import BadTeacher
from kd.networks.imported import DESCRIPTION, ImportedNetwork, canonical
from kd.networks.nnunet_weights import weights_of
from kd.networks.unet import UNet, parameters_of
from kd.planning.dataset import case_names, raw_data, test_names
from kd.planning.nnunet_folds import Fold, find_splits, folds_of, read_fold_splits
from kd.planning.nnunet_plans import (
    Results,
    intensity_of,
    thick_slices_of,
    topology_of,
    triple,
)
from kd.planning.plan import (
    family,
    planned_gates,
    planned_training,
    uncoded,
    write_splits,
)
from kd.planning.recipe_text import refuse_existing, write_recipe
from kd.planning.shapes import within_limit
from kd.recipe.choices import Topology, Triple
from kd.recipe.read import LARGEST_PACKAGE_MB, TEACHER, UNKNOWN_CODE, Recipe
from kd.recipe.sources import Data
from kd.recipe.stages import Stages
from kd.records import Run
from kd.training.checkpoints import Checkpoint, write_checkpoint
from kd.training.runs import fold_run
from node.errors import NodeError
from node.imaging.nifti import read_volume
from node.imaging.orient import Orientation, Turn, turn_of
from node.package.manifest import Input, ModelGrid, Range

NO_TEST_CASE = (
    "There is no test case. Put cases that no fold was trained on into imagesTs and labelsTs, or "
    "import one fold alone, whose own validation cases are then the test cases: --fold 0"
)
HALF_BYTES, FULL_BYTES = 2, 4  # of one weight, stored as float16 or float32
LARGEST_NETWORK_BYTES = 1_900_000_000  # one ONNX file holds 2 GB
PACKAGE_MARGIN_MB = 20.0  # of a package: students, report and reference case


@dataclass(frozen=True)
class Import:
    """What is imported, and the choices of the person."""

    results: Results
    data: Path  # the raw data set; the network was trained in the axis order of its images
    modality: Literal["MR", "CT"]
    task: str
    folds: tuple[str, ...] = ()  # numbers, or `all`; empty: every finished fold
    splits: Path | None = None  # nnU-Net's split file; None: where nnU-Net keeps it
    requires_test: bool = False  # refuse a data set without test cases


def import_folder(order: Import, runs: Path, out: Path, *, is_forced: bool = False) -> Recipe:
    """Write every fold as a run below `runs`, a recipe to `out` and a split file beside it.

    The test cases are those of `imagesTs`, where `labelsTs` has their labels. Without them, the
    cases of `imagesTr` that no imported fold was trained on are the test cases: there are some if
    one fold is imported. The other cases of `imagesTr` become training cases.

    Args:
        order: from `read_results`, with the choices of a person.
        runs: where `teacher_0`, `teacher_1` … are written, as `kd teach` would.
        out: the recipe, YAML.
        is_forced: replace a recipe that exists.

    Raises:
        BadRecipe: the recipe exists.
        BadTeacher: there is no trained fold, one does not fit its own plan or the data, or test
            cases are required and there is none.
    """
    refuse_existing(out, is_forced=is_forced)
    results, data = order.results, order.data
    where = raw_data(data, results.ending)
    topology, names = topology_of(results), _cases(data, where)
    turn = _turn(data / where.images / f"{names[0]}{where.image_ending}")
    forward: list[int] = results.plans["transpose_forward"]
    # axis i of the network is file axis forward[i]; canonical axis j is file axis turn.axes[j]
    axes = triple([turn.axes.index(f) for f in forward])
    path = order.splits or find_splits(results.folder, data.name)
    splits = None if path is None else read_fold_splits(path)
    folds = folds_of(results.folder, results.ending, splits, order.folds)
    test = test_names(data, where)
    if not test:
        test = sorted(frozenset.intersection(*(fold.held_out for fold in folds)))
    if order.requires_test and not test:
        raise BadTeacher(f"{data.name}: {NO_TEST_CASE}")
    _refuse_used(data, where, test, folds)
    for number, fold in enumerate(folds):
        imported = ImportedNetwork(
            topology=_turned(topology, axes),
            n_classes=len(results.labels) + 1,
            held_out=tuple(sorted(fold.held_out)),
            source=f"{results.folder.name}/{fold.folder.name}",
        )
        used = [name for name in names if name not in fold.held_out]
        _write_run(imported, used, _weights(fold, topology, axes), fold_run(runs, number))
    train = [name for name in names if name not in test]
    recipe = _recipe(order, imported, _orientation(turn), axes)
    deal = write_splits({where.train: train, where.test: test}, out)
    recipe = msgspec.structs.replace(
        recipe,
        data=msgspec.structs.replace(where, splits=deal),
        folds=len(folds),
        released_teacher="ensemble" if len(folds) > 1 else "trained",
        largest_package_mb=_package_mb(imported, len(folds)),
    )
    write_recipe(recipe, out)
    return recipe


def _refuse_used(data: Path, where: Data, test: Sequence[str], folds: Sequence[Fold]) -> None:
    """Refuse another data set, and test cases that a fold was trained on.

    These are recognised by their name or by the content of their image.

    Raises:
        BadTeacher: of the first one; the message names it.
        BadCase: an image cannot be read.
    """
    names = _cases(data, where)
    advice = "Remove it from the test cases"
    for fold in folds:
        if strange := sorted(fold.held_out - set(names)):
            message = f"{fold.folder.name} was validated on {strange[0]}, which {data.name} lacks"
            raise BadTeacher(message, advice="Give --data the data set that it was trained on")
        if used := sorted(fold.used & set(test)):
            message = f"test case {used[0]} was used to train {fold.folder.name}"
            raise BadTeacher(message, advice=advice)
    if not test:
        return
    others = [name for name in names if name not in test]
    tested, trained = (contents_of(where, data, cases) for cases in (test, others))
    if same := same_image(tested, trained):
        message = f"test case {same[0]} has the same image as {same[1]}, which may be trained on"
        raise BadTeacher(message, advice=advice)


def _package_mb(imported: ImportedNetwork, folds: int) -> float:
    """Return the size that a package with the whole teacher may need.

    Raises:
        BadTeacher: its folds do not fit into one ONNX file.
    """
    with torch.device("meta"):
        parameters = folds * parameters_of(UNet(imported.topology, imported.n_classes))
    if parameters * FULL_BYTES > LARGEST_NETWORK_BYTES:
        size = parameters * FULL_BYTES / 1e9
        message = f"{folds} folds of {imported.source} have {size:.1f} GB, and ONNX holds 2 GB"
        raise BadTeacher(message, advice="Import fewer folds: --fold 0")
    teacher = parameters * HALF_BYTES / 1e6
    return float(max(LARGEST_PACKAGE_MB, round(2 * teacher + PACKAGE_MARGIN_MB)))


def _turned(topology: Topology, axes: Triple) -> Topology:
    """Return the topology of the same network in canonical axis order."""
    strides, kernels = (
        tuple(triple(_canonical(edges, axes)) for edges in per_stage)
        for per_stage in (topology.strides_zyx, topology.kernels_zyx)
    )
    return msgspec.structs.replace(topology, strides_zyx=strides, kernels_zyx=kernels)


def _weights(fold: Fold, topology: Topology, axes: Triple) -> dict[str, Tensor]:
    weights = weights_of(fold.checkpoint, topology)
    return {name: canonical(weight, axes) for name, weight in weights.items()}


def _cases(data: Path, where: Data) -> list[str]:
    names = case_names(data, where.images, where.image_ending)
    if not names:
        message = f"{data.name} has no {where.images}/*{where.image_ending}"
        raise BadTeacher(message, advice="Give --data the folder nnUNet_raw/DatasetNNN_NAME")
    return names


def _write_run(
    imported: ImportedNetwork, used: list[str], weights: dict[str, Tensor], run: Path
) -> None:
    network = UNet(imported.topology, imported.n_classes)
    # a convolution may have no bias: then it is 0
    state = {k: torch.zeros_like(v) for k, v in network.state_dict().items() if "bias" in k}
    try:
        network.load_state_dict(state | weights)
    except RuntimeError as exc:
        message = f"{imported.source} does not fit the plan beside it"
        raise BadTeacher(message) from exc
    run.mkdir(parents=True, exist_ok=True)
    (run / DESCRIPTION).write_bytes(msgspec.json.format(msgspec.json.encode(imported)) + b"\n")
    record = Run(cases=tuple(used), source=imported.source)
    write_checkpoint(Checkpoint(record, network.state_dict()), run)


def _recipe(
    order: Import, imported: ImportedNetwork, orientation: Orientation, axes: Triple
) -> Recipe:
    results, topology = order.results, imported.topology
    spacing, patch = (
        _canonical(results.configuration[key], axes) for key in ("spacing", "patch_size")
    )
    shape = np.array(results.plans["original_median_shape_after_transp"], float)
    extent = shape * np.array(results.plans["original_median_spacing_after_transp"])
    # students have the teacher's stages, so they can be initialised with its channels
    sizes = {
        size: msgspec.structs.replace(net, inherits=size != TEACHER and net.stem_stride == 1)
        for size, net in family(topology.widths[0], topology.strides_zyx).items()
    }
    training_patch = within_limit(patch, topology.strides_zyx)
    training = planned_training(len(results.labels) + 1)
    if training_patch != triple(patch):
        training = msgspec.structs.replace(training, patch_zyx=training_patch)
    return Recipe(
        task=order.task,
        title=order.task,
        intended_use=UNKNOWN_CODE,
        data=Data(),  # `import_folder` fills it in
        input=Input(
            modality=order.modality,
            spacing_mm=Range(low=min(spacing) / 2, high=max(spacing) * 2),
            field_of_view_mm=Range(low=float(extent.min()) / 2, high=float(extent.max()) * 2),
            slices=Range(low=1, high=10_000),
        ),
        grid=ModelGrid(
            orientation=orientation,
            spacing_mm_zyx=(spacing[0], spacing[1], spacing[2]),
            patch_zyx=triple(patch),
            resample_thick=thick_slices_of(results),
        ),
        intensity=intensity_of(results),
        segments=tuple(uncoded(n, name) for n, name in sorted(results.labels.items())),
        strides_zyx=topology.strides_zyx,
        stages=Stages(
            widths=topology.widths,
            kernels_zyx=topology.kernels_zyx,
            convolutions=topology.convolutions,
            decoder_convolutions=topology.decoder_convolutions,
            blocks=topology.blocks,
        ),
        sizes=sizes,
        training=training,
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
