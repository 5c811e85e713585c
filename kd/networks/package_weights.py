"""The weights of a released network, under the names of `kd.networks.unet.UNet`.

A released ONNX file keeps torch's parameter names. Its batch norms are folded into the
convolutions, and it has the finest head alone. A network that averages mirror images
(`kd.networks.mirror`) gives the weights of its plain heads; their biases are means of left and
right.
"""

from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from kd.errors import BadCheckpoint
from kd.networks.mirror import plain_weight
from kd.networks.unet import UNet

STORED_AS_HALF = "_half"  # suffix that `kd.networks.export` gives to weights stored as float16


def released_weights(path: Path) -> dict[str, Tensor]:
    """Return all weights of a released network as float32, by name.

    Raises:
        BadCheckpoint: the file is not an ONNX network.
    """
    try:
        model = onnx.load(path)
    except Exception as exc:  # protobuf's DecodeError is not public
        message = f"{path.name} of package {path.parent.name} is not an ONNX network"
        raise BadCheckpoint(message, advice="Run: segnode models verify") from exc
    weights = {}
    for stored in model.graph.initializer:
        name = stored.name.removesuffix(STORED_AS_HALF)
        if name.endswith(("weight", "bias")):  # the rest are constants of the graph
            weights[name] = torch.from_numpy(numpy_helper.to_array(stored).astype(np.float32))
    return weights


def load_folded(network: UNet, weights: dict[str, Tensor], path: Path) -> None:
    """Load weights whose batch norms are folded; the network's norms become the identity.

    Heads that are not released keep their initial weights. `path` is named in errors.

    Raises:
        BadCheckpoint: a weight does not exist in `network`, or has another shape.
    """
    state = network.state_dict()
    for name, stored in weights.items():
        weight = plain_weight(stored, state[name]) if "head" in name and name in state else stored
        if name not in state or state[name].shape != weight.shape:
            message = f"{path.name} of package {path.parent.name} is another network ({name})"
            raise BadCheckpoint(message, advice="Give the package that has this size and topology")
        state[name] = weight
    for name, layer in network.named_modules():
        if isinstance(layer, nn.BatchNorm3d):
            ones = torch.ones(layer.num_features)
            state[f"{name}.weight"], state[f"{name}.bias"] = ones, torch.zeros_like(ones)
            state[f"{name}.running_mean"] = torch.zeros_like(ones)
            state[f"{name}.running_var"] = ones - layer.eps
    network.load_state_dict(state)
