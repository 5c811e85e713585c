"""Initialise a narrow network from the strongest channels of its teacher.

From every convolution of the teacher the student takes as many channels as it has, those with the
largest scale after normalisation (Liu et al., ICCV 2017), and from the next convolution the weights
that read them. It starts as a thinned teacher, not from random weights (weight selection, Xu et
al., ICLR 2024).
"""

from collections.abc import Iterable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from kd.errors import BadRecipe
from kd.networks.unet import Convolution, FineStage, Residual, UNet


def inherit(student: UNet, teacher: nn.Module) -> None:
    """Copy weights of `teacher` into `student`; training estimates the running statistics anew.

    Raises:
        BadRecipe: their topologies differ in more than width.
    """
    _refuse_unlike(student, teacher)
    assert isinstance(teacher, UNet)  # checked by the line above
    with torch.no_grad():
        first = next(layer for layer in teacher.modules() if isinstance(layer, Convolution))
        image = torch.arange(first.convolution.in_channels)
        skips = _encoder(student, teacher, image)
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


def _encoder(student: UNet, teacher: UNet, channels: Tensor) -> list[Tensor]:
    """Fill stem and encoder; return the indices of the channels that each stage keeps."""
    if isinstance(teacher.stem, Convolution):
        assert isinstance(student.stem, Convolution)  # their topologies are alike
        stream = []
        if teacher.topology.blocks == "residual":
            # the blocks of the first stage add to what the stem returns, channel by channel
            stream = [block.second for block in _blocks(teacher.encoder[0])]
        width = student.stem.convolution.out_channels
        strongest = _strongest([teacher.stem, *stream], width)
        channels = _fill_block(student.stem, teacher.stem, channels, strongest)
    stages = []
    for mine, theirs in zip(student.encoder, teacher.encoder, strict=True):
        if teacher.topology.blocks == "plain":
            channels = _chain(_convolutions(mine), _convolutions(theirs), channels)
        else:
            channels = _residual_stage(_blocks(mine), _blocks(theirs), channels)
        stages.append(channels)
    return stages


def _residual_stage(mine: list[Residual], theirs: list[Residual], channels: Tensor) -> Tensor:
    """Fill a stage of residual blocks; return the indices of the channels that it keeps.

    All blocks of a stage add to the same channels: one choice for all of them. Where the first
    block has no projection, these are the channels of the stage above.
    """
    small, wide = _projection(mine[0]), _projection(theirs[0])
    selected = channels
    if wide is not None:
        assert small is not None  # `_refuse_unlike` has compared the widths
        writers = [wide, *(block.second for block in theirs)]
        selected = _strongest(writers, small.convolution.out_channels)
        _fill_block(small, wide, channels, selected)
    for narrow, block in zip(mine, theirs, strict=True):
        inner = _chain([narrow.first], [block.first], channels)
        channels = _fill_block(narrow.second, block.second, inner, selected)
    return selected


def _projection(block: Residual) -> Convolution | None:
    """Return the convolution of a shortcut that changes the number of channels."""
    return next((layer for layer in block.shortcut if isinstance(layer, Convolution)), None)


def _blocks(stage: nn.Module) -> list[Residual]:
    """Return the blocks of a stage of residual blocks."""
    assert isinstance(stage, nn.Sequential)
    return [layer for layer in stage if isinstance(layer, Residual)]


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
    is_wider = any(m > t for m, t in zip(small, wide, strict=True))
    if is_wider or (mine.blocks == "residual" and _steps(small) != _steps(wide)):
        message = f"a network of widths {small} cannot inherit from widths {wide}"
        raise BadRecipe(message, advice="Remove inherits, or give this size another base")


def _steps(widths: tuple[int, ...]) -> list[bool]:
    """Return between which stages the width changes: there a residual block has a projection."""
    return [a != b for a, b in pairwise(widths[:-1])]  # the last one is of the fine stage


def _convolutions(stage: nn.Module) -> list[Convolution]:
    """Return the convolutions of a stage of plain blocks."""
    assert isinstance(stage, nn.Sequential)
    return [layer for layer in stage if isinstance(layer, Convolution)]


def _chain(mine: Iterable[Convolution], theirs: Iterable[Convolution], channels: Tensor) -> Tensor:
    """Fill consecutive convolutions; return the indices of the channels that the last one keeps."""
    for small, wide in zip(mine, theirs, strict=True):
        chosen = _strongest([wide], small.convolution.out_channels)
        channels = _fill_block(small, wide, channels, chosen)
    return channels


def _fill_block(small: Convolution, wide: Convolution, channels: Tensor, chosen: Tensor) -> Tensor:
    """Fill a convolution that reads `channels` and keeps the channels `chosen`; return these."""
    scale, shift = _weights(wide[1])
    weight, bias = _weights(wide.convolution)
    _fill(small.convolution, weight[chosen][:, channels], bias[chosen])
    _fill(small[1], scale[chosen], shift[chosen])
    return chosen


def _strongest(writers: Sequence[Convolution], n: int) -> Tensor:
    """Return the `n` channels with the largest scale, summed over layers that add to them."""
    scales = [_weights(layer[1])[0].abs() for layer in writers]
    return _largest(torch.stack(scales).sum(0), n)


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
