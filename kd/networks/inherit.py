"""Initialise a narrow network from the strongest channels of its teacher.

From every convolution of the teacher the student takes as many channels as it has, those with the
largest scale after normalisation (Liu et al., ICCV 2017), and from the next convolution the weights
that read them. It starts as a thinned teacher, not from random weights (weight selection, Xu et
al., ICLR 2024).
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from kd.errors import BadRecipe
from kd.networks.unet import Convolution, FineStage, UNet


def inherit(student: UNet, teacher: nn.Module) -> None:
    """Copy weights of `teacher` into `student`; training estimates the running statistics anew.

    Raises:
        BadRecipe: their topologies differ in more than width.
    """
    _refuse_unlike(student, teacher)
    assert isinstance(teacher, UNet)  # checked by the line above
    with torch.no_grad():
        entry = _convolutions(teacher.encoder[0])[0]
        if isinstance(teacher.stem, Convolution):
            entry = teacher.stem
        image = channels = torch.arange(entry.convolution.in_channels)
        if isinstance(teacher.stem, Convolution):
            assert isinstance(student.stem, Convolution)  # their topologies are alike
            channels = _chain([student.stem], [teacher.stem], channels)
        skips = []
        for mine, theirs in zip(student.encoder, teacher.encoder, strict=True):
            channels = _chain(_convolutions(mine), _convolutions(theirs), channels)
            skips.append(channels)
        channels = skips.pop()
        for i, theirs in enumerate(teacher.ups):
            assert isinstance(theirs, nn.ConvTranspose3d)
            risen = _transposed(student.ups[i], theirs, channels)
            # a decoder stage reads the upsampled channels, then those of its skip connection
            beside = skips.pop() + theirs.out_channels
            small, wide = _convolutions(student.decoder[i]), _convolutions(teacher.decoder[i])
            channels = _chain(small, wide, torch.cat([risen, beside]))
            _head(student.heads[i], teacher.heads[i], channels)
        if teacher.fine is not None:
            assert student.fine is not None  # their topologies are alike
            _fine_stage(student.fine, teacher.fine, image, channels)


def _fine_stage(mine: FineStage, theirs: FineStage, image: Tensor, channels: Tensor) -> None:
    """Fill a fine stage, which reads `image` and the `channels` kept of the last stage."""
    beside = _chain([mine.stem], [theirs.stem], image) + theirs.up.out_channels
    risen = _transposed(mine.up, theirs.up, channels)
    small, wide = _convolutions(mine.decoder), _convolutions(theirs.decoder)
    _head(mine.head, theirs.head, _chain(small, wide, torch.cat([risen, beside])))


def _refuse_unlike(student: UNet, teacher: nn.Module) -> None:
    if not isinstance(teacher, UNet):
        message = "inherits: true requires a teacher that is one network of this recipe"
        raise BadRecipe(message, advice="Train it with kd teach, or remove inherits from the sizes")
    mine, theirs = student.topology, teacher.topology
    alike = ("strides_zyx", "kernels_zyx", "convolutions", "decoder_convolutions", "blocks",
             "stem_stride")  # fmt: skip
    for attribute in alike:
        if getattr(mine, attribute) != getattr(theirs, attribute):
            message = f"inherits: true requires a teacher with the same {attribute}"
            raise BadRecipe(message, advice="Remove inherits from this size")
    if (mine.fine_width > 0) != (theirs.fine_width > 0):
        message = "inherits: true requires a teacher with a fine stage too, or neither with one"
        raise BadRecipe(message, advice="Give both sizes a fine_width, or remove inherits")
    small, wide = (*mine.widths, mine.fine_width), (*theirs.widths, theirs.fine_width)
    if mine.blocks != "plain" or any(m > t for m, t in zip(small, wide, strict=True)):
        message = f"a network of widths {small} cannot inherit from widths {wide}"
        raise BadRecipe(message, advice="Remove inherits, or give this size a smaller base")


def _convolutions(stage: nn.Module) -> list[Convolution]:
    """Return the convolutions of a stage of plain blocks."""
    assert isinstance(stage, nn.Sequential)
    return [layer for layer in stage if isinstance(layer, Convolution)]


def _chain(mine: Iterable[Convolution], theirs: Iterable[Convolution], channels: Tensor) -> Tensor:
    """Fill consecutive convolutions; return the indices of the channels that the last one keeps."""
    for small, wide in zip(mine, theirs, strict=True):
        scale, shift = _weights(wide[1])
        chosen = _largest(scale.abs(), small.convolution.out_channels)
        weight, bias = _weights(wide.convolution)
        _fill(small.convolution, weight[chosen][:, channels], bias[chosen])
        _fill(small[1], scale[chosen], shift[chosen])
        channels = chosen
    return channels


def _transposed(small: nn.Module, wide: nn.Module, channels: Tensor) -> Tensor:
    """Fill a transposed convolution; without a norm, the channels of largest weights are kept."""
    assert isinstance(small, nn.ConvTranspose3d)
    weight, bias = _weights(wide)
    weight = weight[channels]  # [in, out, Z, Y, X]
    chosen = _largest(weight.square().sum((0, 2, 3, 4)), small.out_channels)
    _fill(small, weight[:, chosen], bias[chosen])
    return chosen


def _head(small: nn.Module, wide: nn.Module, channels: Tensor) -> None:
    weight, bias = _weights(wide)
    is_transposed = isinstance(wide, nn.ConvTranspose3d)
    _fill(small, weight[channels] if is_transposed else weight[:, channels], bias)


def _weights(layer: nn.Module) -> tuple[Tensor, Tensor]:
    """Return weight and bias of a convolution or a normalisation."""
    weight, bias = layer.weight, layer.bias
    assert isinstance(weight, Tensor)
    assert isinstance(bias, Tensor)
    return weight, bias


def _fill(layer: nn.Module, new_weight: Tensor, new_bias: Tensor) -> None:
    weight, bias = _weights(layer)
    weight.copy_(new_weight)
    bias.copy_(new_bias)


def _largest(strength: Tensor, n: int) -> Tensor:
    """Return the indices of the `n` strongest channels, in their order."""
    return strength.topk(n).indices.sort().values
