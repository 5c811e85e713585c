"""The plans of an nnU-Net v2 results folder: topology, normalisation and labels, or a refusal.

Promises: only JSON is read; a plan that the node's pipeline cannot reproduce is refused by name.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from kd.errors import BadRecipe, BadTeacher
from kd.planning.dataset import channels_of, ending_of, labels_of, read_dataset
from kd.planning.nnunet_schema import refuse_broken
from kd.recipe.choices import Topology, Triple
from node.imaging import intensity

PLAIN, RESIDUAL = "PlainConvUNet", "ResidualEncoderUNet"
RESAMPLING, CUBIC = "resample_data_or_seg_to_shape", 3  # nnU-Net's defaults for images
NORM_EPS = 1e-5  # of InstanceNorm, torch's and nnU-Net's default


# first words of channel names that only MR images have
MR_CHANNELS = {"MR", "MRI", "FLAIR", "ADC", "DWI", "PD"}
MR_CHANNELS |= {"T1", "T1W", "T1C", "T1CE", "T1GD", "T2", "T2W"}


@dataclass(frozen=True)
class Results:
    """The JSON files of a results folder, and one configuration of its plans."""

    folder: Path
    plans: dict[str, Any]
    dataset: dict[str, Any]
    configuration: dict[str, Any]

    @property
    def ending(self) -> str:
        """End of the names of the data set's files."""
        return ending_of(self.dataset, self.folder / "dataset.json")

    @property
    def modality(self) -> Literal["MR", "CT"] | None:
        """Modality of the images, as far as the name of the channel shows it."""
        channel = channels_of(self.dataset, self.folder / "dataset.json")[0].upper()
        if channel == "CT":
            return "CT"
        return "MR" if re.split(r"[^A-Z0-9]", channel)[0] in MR_CHANNELS else None

    @property
    def labels(self) -> dict[int, str]:
        """Numbers and names of the foreground."""
        return labels_of(self.dataset, self.folder / "dataset.json").names


def read_results(folder: Path, configuration: str | None = None) -> Results:
    """Read plans.json and dataset.json.

    Raises:
        BadTeacher: a file is missing or of another version, or the model is not one 3D channel with
            plain labels.
    """
    try:
        plans = json.loads((folder / "plans.json").read_text(encoding="utf-8"))
        dataset = read_dataset(folder / "dataset.json")
        name = configuration or folder.name.split("__")[-1]
        chosen = _inherited(plans["configurations"], name)
        labels = labels_of(dataset, folder / "dataset.json").names
        channels = channels_of(dataset, folder / "dataset.json")
        ending_of(dataset, folder / "dataset.json")
    except BadRecipe as exc:
        raise BadTeacher(exc.message, advice=exc.advice) from exc
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as exc:
        message = f"{folder.name} is not an nnU-Net v2 results folder: {exc}"
        raise BadTeacher(
            message, advice="Give the folder TRAINER__PLANS__CONFIGURATION with plans.json"
        ) from exc
    refuse_broken(plans, chosen, folder.name)
    _refuse_cascade(chosen, name)
    if len(chosen["patch_size"]) != 3:
        message = f"configuration {name} is not three-dimensional"
        raise BadTeacher(message, advice="Give a results folder of 3d_fullres or 3d_lowres")
    if len(channels) != 1:
        named = ", ".join(channels)
        message = f"the model takes {len(channels)} channels ({named}), and a series has one"
        raise BadTeacher(message, advice="Train nnU-Net on one channel")
    if sorted(labels) != list(range(1, len(labels) + 1)):
        message = f"the labels of {folder.name} are {sorted(labels)}, not 1, 2, 3 … without a gap"
        raise BadTeacher(message, advice="nnU-Net trains on such labels alone: number them anew")
    return Results(folder, plans, dataset, chosen)


def _refuse_cascade(chosen: dict[str, Any], name: str) -> None:
    """Refuse the second network of a cascade: it reads the labels of another network."""
    if previous := chosen.get("previous_stage"):
        message = f"configuration {name} is a cascade: it reads the result of {previous}"
        raise BadTeacher(message, advice="Give the results folder of 3d_fullres or 3d_lowres")


def topology_of(results: Results) -> Topology:
    """Return the network's topology.

    Raises:
        BadTeacher: another architecture, norm or activation than can be imported.
    """
    described = results.configuration.get("architecture")
    if described is None:
        message = "the plans do not describe the architecture"
        raise BadTeacher(message, advice="They were made before nnU-Net 2.5: plan again")
    name = str(described["network_class_name"]).rsplit(".", 1)[-1]
    kwargs = described["arch_kwargs"]
    if name not in (PLAIN, RESIDUAL):
        message = f"architecture {name} cannot be imported"
        raise BadTeacher(message, advice=f"It may be {PLAIN} or {RESIDUAL}")
    if not str(kwargs["norm_op"]).endswith("InstanceNorm3d") or kwargs.get("dropout_op"):
        raise BadTeacher("only InstanceNorm without dropout can be imported")
    if not str(kwargs.get("nonlin", "LeakyReLU")).endswith("LeakyReLU"):
        raise BadTeacher(f"activation {kwargs['nonlin']} cannot be imported, only LeakyReLU")
    if (kwargs.get("norm_op_kwargs") or {}).get("eps", NORM_EPS) != NORM_EPS:
        raise BadTeacher(f"only InstanceNorm with eps {NORM_EPS:g} can be imported")
    n = int(kwargs["n_stages"])
    per_stage = kwargs["n_conv_per_stage" if name == PLAIN else "n_blocks_per_stage"]
    return Topology(
        widths=tuple(int(f) for f in kwargs["features_per_stage"]),
        strides_zyx=tuple(triple(s) for s in kwargs["strides"]),
        kernels_zyx=tuple(triple(k) for k in kwargs["kernel_sizes"]),
        convolutions=_each(per_stage, n),
        decoder_convolutions=_each(kwargs["n_conv_per_stage_decoder"], n - 1),
        blocks="plain" if name == PLAIN else "residual",
    )


def thick_slices_of(results: Results) -> Literal["spline", "nearest"]:
    """Return how the plans resample images with thick slices.

    Raises:
        BadTeacher: another way of resampling than nnU-Net's default.
    """
    kwargs = results.configuration.get("resampling_fn_data_kwargs") or {}
    is_default = results.configuration.get("resampling_fn_data", RESAMPLING) == RESAMPLING
    separate = kwargs.get("force_separate_z")
    is_default &= (kwargs.get("order", CUBIC), kwargs.get("order_z", 0)) == (CUBIC, 0)
    if not is_default or separate not in (None, False):
        raise BadTeacher("only nnU-Net's default resampling, cubic, can be imported")
    return "nearest" if separate is None else "spline"


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
            of = results.plans.get("foreground_intensity_properties_per_channel", {}).get("0")
            if of is None or of["std"] == 0:
                message = f"the plans of {results.folder.name} lack the intensities of channel 0"
                raise BadTeacher(message, advice="CTNormalization needs them: plan again")
            return (
                intensity.Clip(float(of["percentile_00_5"]), float(of["percentile_99_5"])),
                intensity.Standardise(float(of["mean"]), float(of["std"])),
            )
        case "RescaleTo01Normalization":
            return (intensity.ToUnitRange(),)
        case "NoNormalization":
            return ()
        case _:
            raise BadTeacher(f"normalisation {scheme} cannot be imported")


def _inherited(configurations: dict[str, Any], name: str) -> dict[str, Any]:
    """Return a configuration with what it inherits from its parent."""
    own: dict[str, Any] = configurations[name]
    parent = own.get("inherits_from")
    return own if parent is None else _inherited(configurations, parent) | own


def triple(values: Any) -> Triple:
    """Return a number per axis, of one number or three."""
    return (values,) * 3 if isinstance(values, int) else (values[0], values[1], values[2])


def _each(values: Any, count: int) -> tuple[int, ...]:
    return (values,) * count if isinstance(values, int) else tuple(int(v) for v in values)
