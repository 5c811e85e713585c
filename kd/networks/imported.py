"""Networks that nnU-Net trained: the description beside their weights, and their axis order.

nnU-Net works in the axis order of the files it was trained on. The weights are permuted when they
are imported, so that an imported network works on canonical volumes like any other. The direction
of each axis is set by the manifest's orientation, not here: padding and patches must begin at the
same ends.
"""

from pathlib import Path

import msgspec
from torch import Tensor

from kd.errors import BadTeacher
from kd.recipe.choices import Topology, Triple

DESCRIPTION = "network.json"  # in a run folder whose network is not one of the recipe's sizes
SPATIAL = 3  # axes of the images; a convolution's weights have two more


class ImportedNetwork(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An nnU-Net network that was imported, and the cases held out of its training."""

    topology: Topology  # in canonical axis order, like the weights
    n_classes: int
    held_out: tuple[str, ...]  # cases that it was certainly not trained on; empty if unknown
    source: str


def canonical(weight: Tensor, axes: Triple) -> Tensor:
    """Return the weights of one layer in canonical axis order.

    A convolution, transposed or not, has weights [out, in, Z, Y, X] or [in, out, Z, Y, X]; the
    weights of norms and biases have no spatial axis.

    Args:
        weight: in the network's own axis order.
        axes: axis i of the network is canonical axis `axes[i]`.
    """
    if weight.ndim != SPATIAL + 2:
        return weight
    return weight.permute(0, 1, *(2 + axes.index(a) for a in range(SPATIAL))).contiguous()


def read_imported_network(run: Path) -> ImportedNetwork | None:
    """Return the description of an imported network; None where the recipe describes it.

    Raises:
        BadTeacher: the description is damaged, or of an older version of kd.
    """
    path = run / DESCRIPTION
    if not path.exists():
        return None
    try:
        return msgspec.json.decode(path.read_bytes(), type=ImportedNetwork)
    except msgspec.MsgspecError as exc:
        message = f"{run.name}/{DESCRIPTION}: {exc}"
        raise BadTeacher(message, advice="Import the teacher again") from exc
