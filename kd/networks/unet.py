"""The 3D U-Net of nnU-Net (Isensee et al., Nat Methods 2021), plain, at any width.

Shapes: B batch, C channels, K classes, Z Y X voxels (head, back, left). Stage i works on a grid
divided by the product of the strides up to i. Leaves the weights to `kd.training.trainer`.
"""

from collections.abc import Sequence
from copy import deepcopy
from itertools import pairwise
from typing import Self

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from kd.networks.mirror import Head, mirrored_head
from kd.recipe.choices import Topology, Triple

SLOPE = 0.01  # of LeakyReLU below zero, nnU-Net's


class Convolution(nn.Sequential):
    """Convolution, normalisation, LeakyReLU."""

    def __init__(
        self, c_in: int, c_out: int, kernel: Triple, stride: Triple, *, norm: str, act: bool = True
    ) -> None:
        """Keep the size of the grid except for `stride`; the bias is kept for nnU-Net's weights."""
        padding = (kernel[0] // 2, kernel[1] // 2, kernel[2] // 2)
        kind = nn.InstanceNorm3d if norm == "instance" else nn.BatchNorm3d
        layers = [nn.Conv3d(c_in, c_out, kernel, stride, padding), kind(c_out, affine=True)]
        super().__init__(*layers, *([nn.LeakyReLU(SLOPE, inplace=True)] if act else []))

    @property
    def convolution(self) -> nn.Conv3d:
        """Return the convolution."""
        layer = self[0]
        assert isinstance(layer, nn.Conv3d)
        return layer


class Residual(nn.Module):
    """Two convolutions beside a shortcut (nnU-Net's ResidualEncoderUNet, basic block D)."""

    def __init__(self, c_in: int, c_out: int, kernel: Triple, stride: Triple, *, norm: str) -> None:
        """Average-pool and project the shortcut only where shapes differ."""
        super().__init__()
        self.first = Convolution(c_in, c_out, kernel, stride, norm=norm)
        self.second = Convolution(c_out, c_out, kernel, (1, 1, 1), norm=norm, act=False)
        shortcut: list[nn.Module] = []
        if max(stride) > 1:
            shortcut.append(nn.AvgPool3d(stride, stride))
        if c_in != c_out:
            one = (1, 1, 1)  # nnU-Net's has no bias: it is 0 in an imported network
            shortcut.append(Convolution(c_in, c_out, one, one, norm=norm, act=False))
        self.shortcut = nn.Sequential(*shortcut)
        self.act = nn.LeakyReLU(SLOPE, inplace=True)

    def forward(self, x_bczyx: Tensor) -> Tensor:
        """Add the shortcut before the last activation."""
        return self.act(self.second(self.first(x_bczyx)) + self.shortcut(x_bczyx))


class UNet(nn.Module):
    """Encoder, decoder with skips, and one head per decoder stage (deep supervision)."""

    def __init__(self, topology: Topology, n_classes: int, n_channels: int = 1) -> None:
        """Build the layers; weights are He-initialised as in nnU-Net."""
        super().__init__()
        self.topology, self.n_classes = topology, n_classes
        t, norm = topology, topology.norm
        self.stem: nn.Module = nn.Identity()
        entry = n_channels
        if t.stem_stride == 2 or t.blocks == "residual":
            halving = (t.stem_stride, t.stem_stride, t.stem_stride)
            self.stem = Convolution(n_channels, t.widths[0], t.kernels_zyx[0], halving, norm=norm)
            entry = t.widths[0]
        self.encoder = nn.ModuleList(
            _stage(t, entry if i == 0 else t.widths[i - 1], i) for i in range(len(t.widths))
        )
        self.ups, self.decoder, self.heads = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        for i, (low, high) in enumerate(pairwise(reversed(t.widths))):
            at = len(t.widths) - 1 - i
            stride, kernel = t.strides_zyx[at], t.kernels_zyx[at - 1]
            self.ups.append(nn.ConvTranspose3d(low, high, stride, stride))
            chain = [Convolution(2 * high, high, kernel, (1, 1, 1), norm=norm)]
            chain += [
                Convolution(high, high, kernel, (1, 1, 1), norm=norm)
                for _ in range(t.decoder_convolutions[i] - 1)
            ]
            self.decoder.append(nn.Sequential(*chain))
            self.heads.append(nn.Conv3d(high, n_classes, 1))
        if t.stem_stride == 2:
            # the finest head returns to full resolution by learned upsampling
            self.heads[-1] = nn.ConvTranspose3d(t.widths[0], n_classes, 2, 2)
        self.fine = FineStage(n_channels, t, n_classes) if t.fine_width else None
        self.is_fine_stage_only = False
        self.is_mirrored = False
        self.apply(he_normal)
        if self.fine is not None:
            nn.init.zeros_(self.fine.head.weight)

    def train_fine_stage_only(self) -> None:
        """Leave all weights and running statistics below the fine stage as they are."""
        assert self.fine is not None  # kd.training.trainer refuses recipes without one
        self.is_fine_stage_only = True
        self.requires_grad_(requires_grad=False)
        self.fine.requires_grad_(requires_grad=True)

    def train(self, mode: bool = True) -> Self:  # noqa: FBT001, FBT002 - torch's signature
        """Switch between training and evaluation; frozen layers stay in evaluation."""
        super().train(mode)
        if self.is_fine_stage_only:
            for frozen in (self.stem, self.encoder, self.ups, self.decoder, self.heads):
                frozen.eval()
        return self

    def forward(self, x_bczyx: Tensor) -> Tensor:
        """Return the logits [B, K, Z, Y, X] at full resolution."""
        if self.is_mirrored:
            return self._mirrored(x_bczyx)
        return self.finest(x_bczyx)

    def deep(self, x_bczyx: Tensor, at_zyx: Triple | None = None) -> list[Tensor]:
        """Return the logits of every decoder stage, full resolution first.

        With `at_zyx` the finest are those of every second voxel along each axis, from there on.
        Where only the fine stage is trained, there are no others: no loss uses them.
        """
        return self.scores(x_bczyx, self.decode(x_bczyx), at_zyx)

    def scores(
        self, x_bczyx: Tensor, features: list[Tensor], at_zyx: Triple | None = None
    ) -> list[Tensor]:
        """Return what `deep` returns, from an image and what `decode` returns for it."""
        finest = self._finest(x_bczyx, features[-1], at_zyx)
        if self.is_fine_stage_only:
            return [finest]
        coarse = [h(f) for h, f in zip(self.heads[:-1], features[:-1], strict=True)]
        return [finest, *coarse[::-1]]

    def finest(self, x_bczyx: Tensor, at_zyx: Triple | None = None) -> Tensor:
        """Return the first of what `deep` returns."""
        return self._finest(x_bczyx, self.decode(x_bczyx)[-1], at_zyx)

    def average_mirror_images(self, classes: Sequence[int]) -> None:
        """Let `forward` return the mean of the logits of an image and of its mirror image.

        For a release: a network cannot be trained on afterwards. `classes` are those that each
        class becomes in a mirror image.
        """
        self.heads[-1] = mirrored_head(self.heads[-1], classes)
        if self.fine is not None:
            self.fine.head = mirrored_head(self.fine.head, classes)
        self.is_mirrored = True

    def _mirrored(self, image_bczyx: Tensor) -> Tensor:
        both = torch.cat([image_bczyx, image_bczyx.flip(-1)])
        features = self.decode(both)[-1]
        logits = self.heads[-1](_side_by_side(features))
        if self.fine is None:
            return logits
        return logits + self.fine.head(_side_by_side(self.fine(both, features)))

    def _finest(self, image_bczyx: Tensor, x_bczyx: Tensor, at_zyx: Triple | None) -> Tensor:
        """Return the logits of the last features, plus the correction of the fine stage."""
        logits = self._head(x_bczyx, at_zyx)
        if self.fine is None:
            return logits
        fine = self.fine(image_bczyx, x_bczyx)
        if at_zyx is not None:
            z, y, x = at_zyx
            fine = fine[:, :, z::2, y::2, x::2]
        return logits + self.fine.head(fine)

    def _head(self, x_bczyx: Tensor, at_zyx: Triple | None) -> Tensor:
        head = self.heads[-1]
        if at_zyx is None:
            return head(x_bczyx)
        z, y, x = at_zyx
        if isinstance(head, nn.ConvTranspose3d):  # each voxel of a block of 8 has separate weights
            weight = head.weight[:, :, z, y, x].t()[..., None, None, None]
            return F.conv3d(x_bczyx, weight, head.bias)
        return head(x_bczyx)[:, :, z::2, y::2, x::2]

    def decode(self, x_bczyx: Tensor) -> list[Tensor]:
        """Return the features of each decoder stage, lowest resolution first."""
        x, skips = self.stem(x_bczyx), []
        for stage in self.encoder:
            x = stage(x)
            skips.append(x)
        skips.pop()
        features = []
        for up, convolve in zip(self.ups, self.decoder, strict=True):
            x = convolve(torch.cat([up(x), skips.pop()], dim=1))
            features.append(x)
        return features


class FineStage(nn.Module):
    """A last decoder stage at full resolution, beside the head above a stem of stride 2.

    Its skip connection is one convolution of the image itself. Its head corrects the logits of the
    finest head; it starts at zero, so that a trained network can get a fine stage.
    """

    def __init__(self, n_channels: int, t: Topology, n_classes: int) -> None:
        """Read the image, and the features of the decoder stage below."""
        super().__init__()
        width, kernel, one = t.fine_width, t.kernels_zyx[0], (1, 1, 1)
        self.stem = Convolution(n_channels, width, kernel, one, norm=t.norm)
        self.up = nn.ConvTranspose3d(t.widths[0], width, 2, 2)
        self.decoder = nn.Sequential(
            Convolution(2 * width, width, kernel, one, norm=t.norm),
            Convolution(width, width, kernel, one, norm=t.norm),
        )
        self.head: Head = nn.Conv3d(width, n_classes, 1)

    def forward(self, image_bczyx: Tensor, x_bczyx: Tensor) -> Tensor:
        """Return features at full resolution, which `head` turns into corrections."""
        return self.decoder(torch.cat([self.up(x_bczyx), self.stem(image_bczyx)], dim=1))


class Ensemble(nn.Module):
    """Several networks as one: the mean of their logits, as in nnU-Net's predictor."""

    def __init__(self, networks: Sequence[nn.Module]) -> None:
        """Take networks of the same classes and patch."""
        super().__init__()
        self.networks = nn.ModuleList(networks)

    def forward(self, x_bczyx: Tensor) -> Tensor:
        """Return the mean logits [B, K, Z, Y, X] at full resolution."""
        return torch.stack([network(x_bczyx) for network in self.networks]).mean(0)


def _side_by_side(features_bczyx: Tensor) -> Tensor:
    """Stack the features of images and of their mirror images as channels, mirrored back."""
    plain, mirrored = features_bczyx.chunk(2)
    return torch.cat([plain, mirrored.flip(-1)], dim=1)


def parameters_of(network: nn.Module) -> int:
    """Return the number of parameters."""
    return sum(p.numel() for p in network.parameters())


def macs_of(network: nn.Module, patch_zyx: Triple, n_channels: int = 1) -> int:
    """Count multiply-accumulates of all convolutions for one patch, without computing them."""
    shapes = deepcopy(network).to("meta").eval()
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        shapes(torch.zeros(1, n_channels, *patch_zyx, device="meta"))
    return int(counter.get_total_flops()) // 2  # a multiply-accumulate is two operations


def _stage(t: Topology, c_in: int, at: int) -> nn.Sequential:
    kind = Convolution if t.blocks == "plain" else Residual
    chain: list[nn.Module] = []
    for i in range(t.convolutions[at]):
        stride = t.strides_zyx[at] if i == 0 else (1, 1, 1)
        source = c_in if i == 0 else t.widths[at]
        chain.append(kind(source, t.widths[at], t.kernels_zyx[at], stride, norm=t.norm))
    return nn.Sequential(*chain)


def he_normal(layer: nn.Module) -> None:
    """Initialise a convolution for LeakyReLU (He et al. 2015), its bias with zeros."""
    if isinstance(layer, nn.Conv3d | nn.ConvTranspose3d):
        nn.init.kaiming_normal_(layer.weight, a=SLOPE)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
