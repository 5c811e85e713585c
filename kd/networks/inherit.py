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
from kd.networks.unet import UNet


def inherit(student: UNet, teacher: nn.Module) -> None:
    """Copy weights of `teacher` into `student`; training estimates the running statistics anew.

    Raises:
        BadRecipe: their topologies differ in more than width.
    """
    _refuse_unlike(student, teacher)
    assert isinstance(teacher, UNet)  # checked by the line above
    with torch.no_grad():
        kept = torch.arange(_channels_read(teacher.encoder[0][0]))
        if isinstance(teacher.stem, nn.Sequential):
            kept = torch.arange(_channels_read(teacher.stem))
            kept = _chain([student.stem], [teacher.stem], kept)
        skips = []
        for mine, theirs in zip(student.encoder, teacher.encoder, strict=True):
            kept = _chain(mine, theirs, kept)
            skips.append(kept)
        kept = skips.pop()
        for i, theirs in enumerate(teacher.ups):
            risen = _transposed(student.ups[i], theirs, kept)
            # a decoder stage reads the upsampled channels, then those of its skip connection
            beside = skips.pop() + theirs.out_channels
            kept = _chain(student.decoder[i], teacher.decoder[i], torch.cat([risen, beside]))
            _head(student.heads[i], teacher.heads[i], kept)


def _refuse_unlike(student: UNet, teacher: nn.Module) -> None:
    if not isinstance(teacher, UNet):
        message = "inherits: true requires a teacher that is one network of this recipe"
        raise BadRecipe(message, advice="Train it with kd teach, or remove inherits from the sizes")
    mine, theirs = student.topology, teacher.topology
    alike = ("strides_zyx", "kernels_zyx", "convolutions", "decoder_convolutions", "blocks",
             "stem_stride")  # fmt: skip
    for what in alike:
        if getattr(mine, what) != getattr(theirs, what):
            message = f"inherits: true requires a teacher with the same {what}"
            raise BadRecipe(message, advice="Remove inherits from this size")
    if mine.blocks != "plain" or any(
        m > t for m, t in zip(mine.widths, theirs.widths, strict=True)
    ):
        message = f"a network of widths {mine.widths} cannot inherit from widths {theirs.widths}"
        raise BadRecipe(message, advice="Remove inherits, or give this size a smaller base")


def _chain(mine: Iterable[nn.Module], theirs: Iterable[nn.Module], kept: Tensor) -> Tensor:
    """Fill consecutive convolutions; return the indices of the channels that the last one keeps."""
    for small, wide in zip(mine, theirs, strict=True):
        convolution, norm = wide[0], wide[1]
        chosen = _largest(norm.weight.abs(), small[0].out_channels)
        small[0].weight.copy_(convolution.weight[chosen][:, kept])
        small[0].bias.copy_(convolution.bias[chosen])
        small[1].weight.copy_(norm.weight[chosen])
        small[1].bias.copy_(norm.bias[chosen])
        kept = chosen
    return kept


def _transposed(small: nn.Module, wide: nn.Module, kept: Tensor) -> Tensor:
    """Fill a transposed convolution; without a norm, the channels of largest weights are kept."""
    weight = wide.weight[kept]  # [in, out, Z, Y, X]
    chosen = _largest(weight.square().sum((0, 2, 3, 4)), small.out_channels)
    small.weight.copy_(weight[:, chosen])
    small.bias.copy_(wide.bias[chosen])
    return chosen


def _head(small: nn.Module, wide: nn.Module, kept: Tensor) -> None:
    is_transposed = isinstance(wide, nn.ConvTranspose3d)
    small.weight.copy_(wide.weight[kept] if is_transposed else wide.weight[:, kept])
    small.bias.copy_(wide.bias)


def _channels_read(block: nn.Module) -> int:
    return int(block[0].in_channels)


def _largest(strength: Tensor, n: int) -> Tensor:
    """Return the indices of the `n` strongest channels, in their order."""
    return strength.topk(n).indices.sort().values
