"""Networks that were trained in another axis order, wrapped to work on canonical volumes.

nnU-Net works in the axis order of the files it was trained on. Permuting input and output inside
the exported graph keeps the node's pipeline the same for every model. The direction of each axis is
set by the manifest's orientation, not here: padding and patches must begin at the same ends.
Shapes: B batch, K classes, Z Y X voxels (head, back, left); N the network's own order.
"""

from pathlib import Path

import msgspec
from torch import Tensor, nn

from kd.errors import BadTeacher
from kd.networks.unet import UNet
from kd.recipe.choices import Topology, Triple

DESCRIPTION = "network.json"  # in a run folder whose network is not one of the recipe's sizes


class ImportedNetwork(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An nnU-Net network that was imported, and the cases held out of its training."""

    topology: Topology
    n_classes: int
    axes: Triple  # axis i of the network is canonical axis axes[i]
    held_out: tuple[str, ...]  # cases of its validation fold; empty if unknown
    source: str


class Oriented(nn.Module):
    """A U-Net behind a permutation of axes, and the permutation back after it."""

    def __init__(self, network: UNet, axes: Triple) -> None:
        """Axis i of the network is canonical axis `axes[i]`."""
        super().__init__()
        self.network = network
        self.there = [0, 1, *(2 + a for a in axes)]
        self.back = [0, 1, *(2 + axes.index(a) for a in range(3))]

    def forward(self, x_bczyx: Tensor) -> Tensor:
        """Return the logits [B, K, Z, Y, X] of a canonical image."""
        logits_bkn = self.network(x_bczyx.permute(self.there))
        return logits_bkn.permute(self.back)


def read_imported_network(run: Path) -> ImportedNetwork | None:
    """Return the description of an imported network; None where the recipe describes it.

    Raises:
        BadTeacher: the description is damaged.
    """
    path = run / DESCRIPTION
    if not path.exists():
        return None
    try:
        return msgspec.json.decode(path.read_bytes(), type=ImportedNetwork)
    except msgspec.MsgspecError as exc:
        message = f"{run.name}/{DESCRIPTION}: {exc}"
        raise BadTeacher(message, advice="Import the teacher again") from exc
