"""The weights of an nnU-Net v2 checkpoint, under the names of `kd.networks.unet.UNet`.

Promises: nothing in the file is executed; only tensors, numbers and texts are loaded.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kd.errors import BadCheckpoint, BadTeacher
from kd.networks import checkpoint
from kd.recipe.choices import Topology

Weights = dict[str, Tensor]


def weights_of(path: Path, topology: Topology) -> Weights:
    """Return the weights of a checkpoint; weights that it lacks are left out.

    Raises:
        BadTeacher: the file is damaged, or holds code.
    """
    try:
        with torch.serialization.safe_globals(_numpy_scalars()):
            content = checkpoint.load(path, torch.device("cpu"))
        raw: Weights = content["network_weights"]
    except (BadCheckpoint, KeyError) as exc:
        message = f"{path.parent.name}/{path.name} is not a checkpoint of nnU-Net v2"
        raise BadTeacher(message) from exc
    names = _encoder_names(topology) | _decoder_names(topology)
    return {ours: raw[theirs] for ours, theirs in names.items() if theirs in raw}


def _block(ours: str, theirs: str) -> dict[str, str]:
    """Map one convolution and its norm."""
    names = {}
    for part in ("weight", "bias"):
        names[f"{ours}.0.{part}"] = f"{theirs}.conv.{part}"
        names[f"{ours}.1.{part}"] = f"{theirs}.norm.{part}"
    return names


def _encoder_names(t: Topology) -> dict[str, str]:
    names = _block("stem", "encoder.stem.convs.0") if t.blocks == "residual" else {}
    for stage, count in enumerate(t.convolutions):
        for i in range(count):
            ours = f"encoder.{stage}.{i}"
            if t.blocks == "plain":
                names |= _block(ours, f"encoder.stages.{stage}.0.convs.{i}")
                continue
            theirs = f"encoder.stages.{stage}.blocks.{i}"
            pooled = int(i == 0 and max(t.strides_zyx[stage]) > 1)
            names |= _block(f"{ours}.first", f"{theirs}.conv1")
            names |= _block(f"{ours}.second", f"{theirs}.conv2")
            names |= _block(f"{ours}.shortcut.{pooled}", f"{theirs}.skip.{pooled}")
    return names


def _decoder_names(t: Topology) -> dict[str, str]:
    names: dict[str, str] = {}
    for stage, count in enumerate(t.decoder_convolutions):
        for i in range(count):
            names |= _block(f"decoder.{stage}.{i}", f"decoder.stages.{stage}.convs.{i}")
        for part in ("weight", "bias"):
            names[f"ups.{stage}.{part}"] = f"decoder.transpconvs.{stage}.{part}"
            names[f"heads.{stage}.{part}"] = f"decoder.seg_layers.{stage}.{part}"
    return names


def _numpy_scalars() -> list[Any]:
    """Return the harmless numpy types in nnU-Net's training log, under their old names too."""
    scalar = np.float64(0).__reduce__()[0]  # the function that pickle calls for a numpy number
    kinds = [type(np.dtype(kind)) for kind in (np.float64, np.float32, np.int64, np.bool_)]
    return [scalar, (scalar, "numpy.core.multiarray.scalar"), np.dtype, *kinds]
