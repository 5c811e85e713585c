"""Compile the encoder and decoder of a network for batches of one shape.

The heads and the loss stay as they are: with `training.is_thin` they read other voxels at each
step, and would be compiled eight times.
"""

import logging
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor

from kd.networks.precision import autocast
from kd.networks.unet import UNet

Decode = Callable[[Tensor], list[Tensor]]
Compiler = str | Callable[..., Any]  # a backend of torch.compile

log = logging.getLogger(__name__)


def compiler_of(device: torch.device) -> str | None:
    """Return the compiler of torch for `device`; None: a network is not compiled there."""
    return "inductor" if device.type == "cuda" else None


def compiled_decode(network: UNet, image_bczyx: Tensor, compiler: Compiler) -> Decode:
    """Return `network.decode`, compiled if that works for images of this shape, else as it is.

    Forward and backward pass are tried with a copy of the network, because they change gradients
    and running statistics.
    """
    try:
        trial = deepcopy(network)
        with autocast(image_bczyx.device):
            features = _compiled(trial, compiler)(image_bczyx)
        total = torch.stack([feature.float().sum() for feature in features]).sum()
        if total.requires_grad:  # it does not where only the fine stage is trained
            total.backward()  # type: ignore[no-untyped-call]
    except Exception as exc:  # noqa: BLE001 - a compiler fails in many ways, and none is needed
        reason = " ".join(f"{type(exc).__name__}: {exc}".splitlines()[:2])
        log.warning("torch cannot compile the network; it is trained as it is, slower: %s", reason)
        return network.decode
    return _compiled(network, compiler)


def _compiled(network: UNet, compiler: Compiler) -> Decode:
    compiled: Decode = torch.compile(network.decode, backend=compiler, dynamic=False)
    return compiled
