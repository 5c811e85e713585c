"""An nnU-Net v2 results folder as a teacher: its plan as a recipe, its folds as runs.

Promises: nothing in the folder is executed (weights_only; numbers and names alone), and what the
node's pipeline cannot do in the same way is refused rather than approximated.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
import torch

from kd.errors import BadTeacher
from kd.networks import checkpoint
from kd.networks.nnunet_weights import weights_of
from kd.networks.oriented import DESCRIPTION, ImportedNetwork
from kd.networks.unet import UNet
from kd.planning.plan import (
    ANISOTROPIC,
    case_names,
    family,
    raw_data,
    uncoded,
    write_recipe,
    write_splits,
)
from kd.recipe.choices import Distillation, Topology, Triple
from kd.recipe.read import UNKNOWN_CODE, Recipe
from kd.training.runs import fold_run
from kd.training.trainer import CHECKPOINT, FORMAT
from node.errors import NodeError
from node.imaging import intensity
from node.imaging.nifti import read_volume
from node.imaging.orient import Orientation, Turn, turn_of
from node.package.manifest import Input, ModelGrid, Range

PLAIN, RESIDUAL = "PlainConvUNet", "ResidualEncoderUNet"
NORM_EPS = 1e-5  # of InstanceNorm, torch's and nnU-Net's default
RESAMPLING, CUBIC = "resample_data_or_seg_to_shape", 3  # nnU-Net's defaults for images


@dataclass(frozen=True)
class Results:
    """What the JSON files of a results folder say about one configuration."""

    folder: Path
    plans: dict[str, Any]
    dataset: dict[str, Any]
    configuration: dict[str, Any]

    @property
    def labels(self) -> dict[int, str]:
        """Numbers and names of the foreground."""
        return {int(n): name for name, n in self.dataset["labels"].items() if int(n) > 0}


def read_results(folder: Path, configuration: str | None = None) -> Results:
    """Read plans.json and dataset.json.

    Raises:
        BadTeacher: a file is missing or of another version, or the model is not one 3D channel with
            plain labels.
    """
    try:
        plans = json.loads((folder / "plans.json").read_text(encoding="utf-8"))
        dataset = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))
        name = configuration or folder.name.split("__")[-1]
        chosen = _inherited(plans["configurations"], name)
    except (OSError, ValueError, KeyError) as exc:
        message = f"{folder.name} is no nnU-Net v2 results folder: {exc}"
        raise BadTeacher(
            message, advice="Give the folder TRAINER__PLANS__CONFIGURATION with plans.json"
        ) from exc
    if len(chosen["patch_size"]) != 3:
        raise BadTeacher(f"configuration {name} is not three-dimensional")
    if len(dataset.get("channel_names", {"0": ""})) != 1:
        raise BadTeacher("the model takes several channels, and a series has one")
    if not all(isinstance(n, int) for n in dataset["labels"].values()):
        raise BadTeacher("the model has regions or lists as labels, and the node has one per voxel")
    return Results(folder, plans, dataset, chosen)


def topology_of(results: Results) -> Topology:
    """Return the network's topology.

    Raises:
        BadTeacher: another architecture, norm or activation than can be taken over.
    """
    said = results.configuration.get("architecture")
    if said is None:
        message = "the plans do not describe the architecture"
        raise BadTeacher(message, advice="They were made before nnU-Net 2.5: plan again")
    name = str(said["network_class_name"]).rsplit(".", 1)[-1]
    kwargs = said["arch_kwargs"]
    if name not in (PLAIN, RESIDUAL):
        message = f"architecture {name} cannot be taken over"
        raise BadTeacher(message, advice=f"It may be {PLAIN} or {RESIDUAL}")
    if not str(kwargs["norm_op"]).endswith("InstanceNorm3d") or kwargs.get("dropout_op"):
        raise BadTeacher("only InstanceNorm without dropout can be taken over")
    if not str(kwargs.get("nonlin", "LeakyReLU")).endswith("LeakyReLU"):
        raise BadTeacher(f"activation {kwargs['nonlin']} cannot be taken over, only LeakyReLU")
    if (kwargs.get("norm_op_kwargs") or {}).get("eps", NORM_EPS) != NORM_EPS:
        raise BadTeacher(f"only InstanceNorm with eps {NORM_EPS:g} can be taken over")
    n = int(kwargs["n_stages"])
    per_stage = kwargs["n_conv_per_stage" if name == PLAIN else "n_blocks_per_stage"]
    return Topology(
        widths=tuple(int(f) for f in kwargs["features_per_stage"]),
        strides_zyx=tuple(_triple(s) for s in kwargs["strides"]),
        kernels_zyx=tuple(_triple(k) for k in kwargs["kernel_sizes"]),
        convolutions=_each(per_stage, n),
        decoder_convolutions=_each(kwargs["n_conv_per_stage_decoder"], n - 1),
        blocks="plain" if name == PLAIN else "residual",
    )


def intensity_of(results: Results) -> tuple[intensity.IntensityStep, ...]:
    """Express nnU-Net's normalisation in the package's closed list.

    Raises:
        BadTeacher: a scheme that the list does not have.
    """
    scheme = results.configuration["normalization_schemes"][0]
    masked = bool(results.configuration["use_mask_for_norm"][0])
    match scheme:
        case "ZScoreNormalization":
            # nnU-Net crops to the box of nonzero voxels before it takes mean and deviation
            return (intensity.ZScore(nonzero_only=masked, nonzero_box=True),)
        case "CTNormalization":
            said = results.plans["foreground_intensity_properties_per_channel"]["0"]
            return (
                intensity.Clip(float(said["percentile_00_5"]), float(said["percentile_99_5"])),
                intensity.Standardise(float(said["mean"]), float(said["std"])),
            )
        case "RescaleTo01Normalization":
            return (intensity.ToUnitRange(),)
        case "NoNormalization":
            return ()
        case _:
            raise BadTeacher(f"normalisation {scheme} cannot be taken over")


def import_folder(
    results: Results, data: Path, words: tuple[Literal["MR", "CT"], str], runs: Path, out: Path
) -> Recipe:
    """Write every fold as a run below `runs`, a recipe to `out` and a split file beside it.

    The split file names all of the data set's cases as training cases: an ensemble of folds has
    seen each of them. A person adds the test cases, which no fold has seen.

    Args:
        results: from `read_results`.
        data: the raw data set; the axis order of its images is what the network was trained in.
        words: modality of the images, which nnU-Net does not record, and name of the task.
        runs: where `teacher_0`, `teacher_1` … are written, as `kd teach` would.
        out: the recipe, YAML.

    Raises:
        BadTeacher: there is no trained fold, or one that does not fit its own plan or the data.
    """
    topology, names = topology_of(results), _cases(results, data)
    where = raw_data(_ending(results))
    turn = _turn(data / where.images / f"{names[0]}{where.image_ending}")
    forward: list[int] = results.plans["transpose_forward"]
    # axis i of the network is file axis forward[i]; canonical axis j is file axis turn.axes[j]
    axes = tuple(turn.axes.index(f) for f in forward)
    folds = sorted(results.folder.glob("fold_*/checkpoint_final.pth"))
    if not folds:
        raise BadTeacher("there is no fold_*/checkpoint_final.pth: no fold is finished")
    for number, path in enumerate(folds):
        found = (path.parent / "validation").glob(f"*{_ending(results)}")
        held = {p.name.removesuffix(_ending(results)) for p in found}
        if strange := sorted(held - set(names)):
            message = f"{path.parent.name} was validated on {strange[0]}, which {data.name} lacks"
            raise BadTeacher(message, advice="Give --data the data set that it was trained on")
        imported = ImportedNetwork(
            topology=topology,
            n_classes=len(results.labels) + 1,
            axes=(axes[0], axes[1], axes[2]),
            held=tuple(sorted(held)),
            source=f"{results.folder.name}/{path.parent.name}",
        )
        seen = [name for name in names if name not in held]
        _write_run(imported, seen, path, fold_run(runs, number))
    recipe = _recipe(results, imported, _orientation(turn), words)
    chosen = msgspec.structs.replace(
        recipe.data, splits=write_splits({recipe.data.train: names, recipe.data.test: []}, out)
    )
    recipe = msgspec.structs.replace(
        recipe,
        data=chosen,
        folds=len(folds),
        released_teacher="ensemble" if len(folds) > 1 else "trained",
    )
    write_recipe(recipe, out)
    return recipe


def _cases(results: Results, data: Path) -> list[str]:
    where = raw_data(_ending(results))
    names = case_names(data, where)
    if not names:
        message = f"{data.name} has no {where.images}/*{where.image_ending}"
        raise BadTeacher(message, advice="Give --data the folder nnUNet_raw/DatasetNNN_NAME")
    return names


def _write_run(imported: ImportedNetwork, seen: list[str], path: Path, run: Path) -> None:
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
    state = {"format": FORMAT, "step": 0, "seconds": 0.0, "averaged": network.state_dict()}
    choices = {"source": imported.source, "distillation": None, "training": None, "names": seen}
    checkpoint.save(state | {"identity": json.dumps(choices)}, run / CHECKPOINT)


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
    said = results.configuration.get("resampling_fn_data_kwargs") or {}
    if results.configuration.get("resampling_fn_data", RESAMPLING) != RESAMPLING or (
        said.get("order", CUBIC) != CUBIC
    ):
        raise BadTeacher("only nnU-Net's default resampling, cubic, can be taken over")
    if max(spacing) / min(spacing) > ANISOTROPIC:
        raise BadTeacher("nnU-Net resamples so thick slices apart, which the node does not")
    shape = np.array(results.plans["original_median_shape_after_transp"], float)
    extent = shape * np.array(results.plans["original_median_spacing_after_transp"])
    return Recipe(
        task=task,
        title=task,
        intended_use=UNKNOWN_CODE,
        data=raw_data(_ending(results)),
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
        strides_zyx=tuple(_triple(s) for s in zip(*strides, strict=True)),
        sizes=family(
            imported.topology.widths[0], tuple(_triple(s) for s in zip(*strides, strict=True))
        ),
        distillation=Distillation(),
    )


def _inherited(configurations: dict[str, Any], name: str) -> dict[str, Any]:
    """Return a configuration with what it inherits from its parent."""
    own: dict[str, Any] = configurations[name]
    parent = own.get("inherits_from")
    return own if parent is None else _inherited(configurations, parent) | own


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


def _triple(values: Any) -> Triple:
    return (values,) * 3 if isinstance(values, int) else (values[0], values[1], values[2])


def _each(values: Any, count: int) -> tuple[int, ...]:
    return (values,) * count if isinstance(values, int) else tuple(int(v) for v in values)


def _ending(results: Results) -> str:
    return str(results.dataset.get("file_ending", ".nii.gz"))
