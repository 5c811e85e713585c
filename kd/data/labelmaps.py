"""Label maps without images: anatomies from which `kd.data.synthesis` makes training images.

The ids of the maps (FreeSurfer's, for the brain) are translated to tissues: consecutive numbers
from 0, where 0 is air.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from kd.errors import BadCase
from kd.recipe.choices import Anatomy, Triple
from node.errors import NodeError
from node.imaging import Grid
from node.imaging.nifti import read_volume
from node.imaging.orient import Orientation, orient

AIR = 0  # id and tissue
MOST_TISSUES = 256  # they are stored as bytes
SPACING_TOLERANCE = 0.02


@dataclass(frozen=True, eq=False)
class LabelMap:
    """One anatomy in canonical orientation, as tissues, with tables of their properties."""

    name: str
    grid: Grid
    tissue_zyx: Tensor  # uint8
    counts: Tensor  # voxels of each tissue in the whole map, float
    shared: Tensor  # tissue -> the tissue whose intensity it shares: left for right
    alike: Tensor  # tissue -> number of its group
    is_outside: Tensor
    targets: Tensor  # tissue -> segment, uint8
    mirrored: Tensor  # tissue -> segment, in an anatomy whose sides are swapped

    @property
    def shape(self) -> Triple:
        """Fine voxels along each axis."""
        z, y, x = self.tissue_zyx.shape
        return (z, y, x)

    @property
    def n_tissues(self) -> int:
        """Air and every id of the maps."""
        return len(self.shared)

    def target(self, tissue: Tensor, *, mirrored: bool = False) -> Tensor:
        """Return the segment of each tissue."""
        return (self.mirrored if mirrored else self.targets)[tissue.int()]

    def to(self, device: torch.device) -> "LabelMap":
        """Return the map with its voxels on `device`; tables of intensities stay on the host."""
        return replace(
            self,
            tissue_zyx=self.tissue_zyx.to(device),
            targets=self.targets.to(device),
            mirrored=self.mirrored.to(device),
        )


def read_label_map(
    name: str, path: Path, anatomy: Anatomy, spacing_mm_zyx: Sequence[float], way: Orientation
) -> LabelMap:
    """Read one label map.

    Args:
        name: of the case.
        path: a NIfTI file of whole numbers.
        anatomy: what its ids mean.
        spacing_mm_zyx: required: the spacing of the model's grid divided by the generator's `fine`.
        way: the model's orientation.

    Raises:
        BadCase: unreadable, another spacing, values that are not ids, or no target in it.
    """
    try:
        volume = read_volume(path)
    except NodeError as exc:
        message = f"case {name}: {exc.message}"
        raise BadCase(message) from exc
    turned, _ = orient(volume, way)
    spacing = turned.grid.spacing_mm
    if any(
        abs(a / b - 1) > SPACING_TOLERANCE for a, b in zip(spacing, spacing_mm_zyx, strict=True)
    ):
        message = (
            f"case {name}: its label map has spacing {spacing}, not {tuple(spacing_mm_zyx)} mm"
        )
        raise BadCase(message, advice="Change generator.fine or grid.spacing_mm_zyx, or resample")
    numbers, index = np.unique(turned.array.round(), return_inverse=True)
    ids = [int(number) for number in numbers]
    if not np.array_equal(numbers[index].reshape(turned.array.shape), turned.array):
        message = f"case {name}: its label map holds values that are not whole numbers"
        raise BadCase(message)
    if ids[0] < AIR:
        message = f"case {name}: its label map holds a negative id, {ids[0]}"
        raise BadCase(message)
    if not set(ids) & set(anatomy.targets):
        message = f"case {name}: no voxel of its label map is in generator.anatomy.targets"
        raise BadCase(message)
    if ids[0] != AIR:
        ids, index = [AIR, *ids], index + 1
    if len(ids) > MOST_TISSUES:
        message = f"case {name}: its label map holds {len(ids)} ids, at most {MOST_TISSUES}"
        raise BadCase(message)
    tissue = np.ascontiguousarray(index.reshape(turned.array.shape).astype(np.uint8))
    return _with_tables(name, turned.grid, torch.from_numpy(tissue), ids, anatomy)


def _with_tables(
    name: str, grid: Grid, tissue_zyx: Tensor, ids: list[int], anatomy: Anatomy
) -> LabelMap:
    other = {a: b for pair in anatomy.sides for a, b in (pair, pair[::-1])}
    first = {right: left for left, right in anatomy.sides}
    at = {number: tissue for tissue, number in enumerate(ids)}
    groups = {number: group for group, members in enumerate(anatomy.alike) for number in members}
    return LabelMap(
        name=name,
        grid=grid,
        tissue_zyx=tissue_zyx,
        counts=torch.bincount(tissue_zyx.flatten(), minlength=len(ids)).float(),
        shared=torch.tensor([at.get(first.get(n, n), at[n]) for n in ids]),
        alike=torch.tensor([groups.get(n, len(anatomy.alike) + at[n]) for n in ids]),
        is_outside=torch.tensor([n in anatomy.outside or n >= anatomy.outside_from for n in ids]),
        targets=_bytes([anatomy.targets.get(n, 0) for n in ids]),
        mirrored=_bytes([anatomy.targets.get(other.get(n, n), 0) for n in ids]),
    )


def _bytes(values: list[int]) -> Tensor:
    return torch.tensor(values, dtype=torch.uint8)
