"""A released ONNX file computed by torch: an independent check of onnxruntime."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from onnx import helper, numpy_helper
from torch import Tensor


def _padding(a: dict[str, Any]) -> list[int]:
    n = len(a["pads"]) // 2
    assert a["pads"][:n] == a["pads"][n:], "torch pads both sides alike"
    return list(a["pads"][:n])


def _reversed(_: dict[str, Any], x: Tensor, *ranges: Tensor) -> Tensor:
    starts, ends, axes, steps = (values.tolist() for values in ranges)
    assert all(value == -1 for value in (*starts, *steps))
    assert all(end < -size for end, size in zip(ends, (x.shape[i] for i in axes), strict=True))
    return x.flip(axes)


OPERATIONS: dict[str, Callable[..., Tensor | tuple[Tensor, ...]]] = {
    "Cast": lambda _, x: x.float(),  # weights stored as float16; nothing else is cast
    "Conv": lambda a, x, w, b=None: F.conv3d(
        x, w, b, a["strides"], _padding(a), a["dilations"], a["group"]
    ),
    "ConvTranspose": lambda a, x, w, b=None: F.conv_transpose3d(
        x, w, b, a["strides"], _padding(a), 0, a["group"], a["dilations"]
    ),
    "InstanceNormalization": lambda a, x, w, b: F.instance_norm(
        x, weight=w, bias=b, eps=a["epsilon"]
    ),
    "LeakyRelu": lambda a, x: F.leaky_relu(x, a["alpha"]),
    "Concat": lambda a, *xs: torch.cat(xs, a["axis"]),
    "Identity": lambda _, x: x,
    "Add": lambda _, x, y: x + y,
    "Unsqueeze": lambda _, x, axes: x.unsqueeze(int(axes[0])),
    "ReduceMean": lambda a, x, axes: x.mean(int(axes[0]), keepdim=bool(a["keepdims"])),
    "Div": lambda _, x, y: x / y,
    "Slice": _reversed,  # mirror images alone slice
    "Split": lambda a, x: x.chunk(a["num_outputs"], a["axis"]),
}


def run(path: Path, patch_zyx: np.ndarray) -> np.ndarray:
    """Return the logits [K, Z, Y, X] of one patch, every operation done by torch in float32."""
    model = onnx.load(path)
    tensors = {
        weight.name: torch.from_numpy(numpy_helper.to_array(weight).copy()).float()
        if weight.data_type in (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16)
        else torch.from_numpy(numpy_helper.to_array(weight).copy())
        for weight in model.graph.initializer
    }
    batch = torch.from_numpy(np.ascontiguousarray(patch_zyx, np.float32))[None, None]
    tensors[model.graph.input[0].name] = batch
    with torch.no_grad():
        for node in model.graph.node:
            attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
            inputs = [tensors[name] for name in node.input if name]
            outputs = OPERATIONS[node.op_type](attributes, *inputs)
            outputs = (outputs,) if isinstance(outputs, Tensor) else outputs
            tensors.update(zip(node.output, outputs, strict=True))
    result: np.ndarray = tensors[model.graph.output[0].name][0].numpy()
    return result
