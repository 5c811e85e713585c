"""Export trained weights to one ONNX file that the node runs, and compare it with torch.

Weights are stored as float16 and cast to float32 when the file is loaded: half the bytes, the same
arithmetic. They are rounded in torch first, so that the compared network is the released one.
Shapes: B batch (1), K classes, Z Y X voxels.
"""

import logging
import warnings
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from kd.errors import GateFailed
from kd.networks.unet import Convolution, macs_of, parameters_of
from kd.recipe.choices import Triple
from node.imaging.volume import FloatArray
from node.student import Student

OPSET = 20
LARGEST_CHANGED_SHARE = 1e-3  # of voxels whose class rounding may change; else float32 is stored
LARGEST_DIFFERENCE = 1e-2  # between torch's and onnxruntime's logits, which reach about 20
SMALLEST_ROUNDED = 64  # numbers; norms and biases below are kept in float32


@dataclass(frozen=True)
class Exported:
    """The size of an exported network, and its difference from the network it came from."""

    parameters: int
    macs_per_patch: int
    is_half: bool  # weights are stored as float16
    largest_difference: float  # of logits, onnxruntime against torch with the same weights
    changed_share: float  # of voxels whose class differs from the unrounded network's


def export(
    network: nn.Module, patch_zyx: Triple, patches: Sequence[FloatArray], path: Path
) -> Exported:
    """Write `network` to `path` and compare it with torch on real `patches` [Z, Y, X].

    Raises:
        GateFailed: onnxruntime and torch disagree on a patch.
    """
    network = deepcopy(network).cpu().float().eval()
    network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]  # torch's stub
    parameters, macs = parameters_of(network), macs_of(network, patch_zyx)
    network = _folded(network)
    whole = [_in_torch(network, patch) for patch in patches]
    rounded = _rounded(network)
    changed = max(
        float((_in_torch(rounded, patch).argmax(0) != logits.argmax(0)).mean())
        for patch, logits in zip(patches, whole, strict=True)
    )
    is_half = changed <= LARGEST_CHANGED_SHARE
    released = rounded if is_half else network
    _write(released, patch_zyx, path, is_half=is_half)
    student = Student(path, threads=1)
    differences = [
        float(np.abs(student(patch) - _in_torch(released, patch)).max()) for patch in patches
    ]
    if max(differences) > LARGEST_DIFFERENCE:
        message = f"{path.name}: onnxruntime and torch differ by {max(differences):.3g}"
        raise GateFailed(message)
    return Exported(
        parameters=parameters,
        macs_per_patch=macs,
        is_half=is_half,
        largest_difference=max(differences),
        changed_share=changed if is_half else 0.0,
    )


def _in_torch(network: nn.Module, patch_zyx: FloatArray) -> FloatArray:
    with torch.no_grad():
        batch = torch.from_numpy(np.ascontiguousarray(patch_zyx, np.float32))[None, None]
        result: FloatArray = network(batch)[0].numpy()
    return result


def _folded(network: nn.Module) -> nn.Module:
    """Return a copy with every BatchNorm multiplied into the convolution before it."""
    copy = deepcopy(network)
    for layer in copy.modules():
        norm = layer[1] if isinstance(layer, Convolution) else None
        if isinstance(layer, Convolution) and isinstance(norm, nn.BatchNorm3d):
            layer[0] = fuse_conv_bn_eval(layer.convolution, norm)
            layer[1] = nn.Identity()
    return copy


def _rounded(network: nn.Module) -> nn.Module:
    """Return a copy whose large weights are exactly representable in float16."""
    copy = deepcopy(network)
    with torch.no_grad():
        for weight in copy.parameters():
            if weight.numel() >= SMALLEST_ROUNDED:
                weight.copy_(weight.half().float())
    return copy


def _write(network: nn.Module, patch_zyx: Triple, path: Path, *, is_half: bool) -> None:
    # the exporter warns about packages we do not need, and about its own deprecated helpers
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            network,
            (torch.zeros(1, 1, *patch_zyx),),
            dynamo=True,
            opset_version=OPSET,
            input_names=["image_bczyx"],
            output_names=["logits_bkzyx"],
            external_data=False,
            verbose=False,
        )
    assert program is not None  # dynamo=True
    model = program.model_proto
    if is_half:
        _store_as_half(model)
    # source file names and line numbers of the exporting machine do not belong in a release
    for node in model.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    onnx.checker.check_model(model, full_check=True)
    path.write_bytes(model.SerializeToString())


def _store_as_half(model: onnx.ModelProto) -> None:
    """Replace large float32 weights that float16 holds exactly by float16 and a Cast."""
    casts = []
    for weight in model.graph.initializer:
        if weight.data_type != onnx.TensorProto.FLOAT:
            continue
        array = numpy_helper.to_array(weight)
        half = array.astype(np.float16)
        if array.size < SMALLEST_ROUNDED or not np.array_equal(half.astype(np.float32), array):
            continue
        stored = f"{weight.name}_half"
        casts.append(helper.make_node("Cast", [stored], [weight.name], to=onnx.TensorProto.FLOAT))
        weight.CopyFrom(numpy_helper.from_array(half, stored))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    # the exporter also lists some weights as typed values; their stored type has changed
    names = {weight.name.removesuffix("_half") for weight in model.graph.initializer}
    shapes = [value for value in model.graph.value_info if value.name not in names]
    del model.graph.value_info[:]
    model.graph.value_info.extend(shapes)
