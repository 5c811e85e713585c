"""A U-Net that corrects the class scores of a frozen coarse network, in one graph.

The coarse network sees the image at half the resolution and therefore much context for little
work; the refiner adds detail. Shapes: B batch, C channels, K classes, Z Y X voxels of the full
grid (head, back, left), z y x of the grid of half the resolution.
"""

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import Tensor

from kd.networks.unet import Convolution, UNet, Window, he_normal
from kd.recipe.choices import Topology, Triple

LEAST_LOG_P = -8.0  # of a coarse class; what is less probable than e^-8 makes no difference


class Refiner(UNet):
    """A U-Net with a stem of stride 2 that reads and corrects coarse class probabilities.

    The coarse probabilities [B, K, z, y, x] join the features behind the stem. Their logarithms,
    repeated for the eight voxels that each covers, are added to the answer of the finest head,
    which starts at zero: an untrained refiner answers what the coarse network answers. The sum has
    no weights, since noise in weights of the coarse scores costs more than they can gain.
    """

    def __init__(self, topology: Topology, n_classes: int, n_channels: int = 1) -> None:
        """Build both networks. The weights of the coarse one are random: load them."""
        super().__init__(topology, n_classes, n_channels)
        assert topology.coarse is not None
        assert topology.stem_stride == 2
        width, kernel = topology.widths[0], topology.kernels_zyx[0]
        stride, norm = topology.strides_zyx[0], topology.norm
        self.encoder[0][0] = Convolution(width + n_classes, width, kernel, stride, norm=norm)
        self.encoder[0][0].apply(he_normal)
        with torch.no_grad():
            self.heads[-1].weight.zero_()
        self.coarse = UNet(topology.coarse, n_classes, n_channels)
        self.coarse.requires_grad_(requires_grad=False)

    def train(self, mode: bool = True) -> "Refiner":  # noqa: FBT001, FBT002 - torch's signature
        """Switch all layers except the coarse network, whose statistics stay frozen."""
        super().train(mode)
        self.coarse.eval()
        return self

    def coarse_log_p(self, x_bczyx: Tensor) -> Tensor:
        """Return the coarse log-probabilities [B, K, z, y, x], at least `LEAST_LOG_P`."""
        with torch.no_grad():
            logits = self.coarse(F.avg_pool3d(x_bczyx, 2)).float()
            return logits.log_softmax(1).clamp_min(LEAST_LOG_P)

    def forward(self, x_bczyx: Tensor) -> Tensor:
        """Return the logits [B, K, Z, Y, X] at full resolution."""
        return self._head(self._features(x_bczyx)[-1], None)

    def _features(self, x_bczyx: Tensor, window: Window | None = None) -> list[Tensor]:
        """Return the features of each decoder stage; the finest are followed by coarse scores."""
        log_p, image = self.coarse_log_p(x_bczyx), x_bczyx
        if window is not None:
            log_p, image = window.of(log_p, 2), window.of(image)
        entry = self.stem(image)
        features = self._decode(torch.cat([entry, log_p.exp().to(entry.dtype)], 1))
        features[-1] = torch.cat([features[-1], log_p.to(features[-1].dtype)], 1)
        return features

    def _head(self, x_bczyx: Tensor, at_zyx: Triple | None) -> Tensor:
        width = self.topology.widths[0]
        log_p = x_bczyx[:, width:]
        if at_zyx is None:  # with `at_zyx`, one voxel of the eight that a coarse score covers
            log_p = F.interpolate(log_p, scale_factor=2.0, mode="nearest")
        return super()._head(x_bczyx[:, :width], at_zyx) + log_p
