"""The stages of an imported network, which the students of its family repeat with fewer channels.

Leaves strides to the recipe's `strides_zyx`, and width, norm and stem to each size.
"""

from collections.abc import Sequence
from typing import Literal

from kd.errors import BadRecipe
from kd.recipe.bounds import Convolutions, Strict, Width
from kd.recipe.choices import WIDEST, Kernels, Net, Topology, Triple


class Stages(Strict, frozen=True, kw_only=True):
    """What the stages of a network have besides strides; one entry per stage, finest first."""

    widths: tuple[Width, ...]  # channels of the imported network
    kernels_zyx: tuple[Kernels, ...]
    convolutions: tuple[Convolutions, ...]  # of each encoder stage; in residual stages, blocks
    decoder_convolutions: tuple[Convolutions, ...]  # of each decoder stage, lowest resolution first
    blocks: Literal["plain", "residual"] = "plain"

    def __post_init__(self) -> None:
        """Refuse lists of different lengths."""
        n = len(self.widths)
        lengths = {n, len(self.kernels_zyx), len(self.convolutions)}
        if len(lengths) > 1 or len(self.decoder_convolutions) != n - 1:
            message = "stages: every list has one entry per stage, decoder_convolutions one less"
            raise BadRecipe(message)

    def topology(self, net: Net, strides_zyx: Sequence[Triple], without: int | None) -> Topology:
        """Return the network of one size.

        Each stage has the imported network's channels times `net.base` over its first width,
        rounded up, at least `net.least_width`.

        Args:
            net: width, norm and stem.
            strides_zyx: of the remaining stages.
            without: the stage that a stem of stride 2 replaces, if any.
        """
        indices = [i for i in range(len(self.widths)) if i != without]
        n = len(self.widths)
        decoder = [c for i, c in enumerate(self.decoder_convolutions) if n - 1 - i != without]
        # a size has the widths of its first stages: without a stage, the deepest one is left out
        widths = [-(-width * net.base // self.widths[0]) for width in self.widths[: len(indices)]]
        return Topology(
            widths=tuple(min(max(width, net.least_width), WIDEST) for width in widths),
            strides_zyx=tuple(strides_zyx),
            kernels_zyx=tuple(self.kernels_zyx[i] for i in indices),
            convolutions=tuple(self.convolutions[i] for i in indices),
            decoder_convolutions=tuple(decoder),
            norm=net.norm,
            blocks=self.blocks,
            stem_stride=net.stem_stride,
        )
