"""How far two label maps are apart: Dice, surface Dice and HD95, of one structure at a time.

Surface distances are MONAI's (`monai.metrics`, sub-voxel surface elements after Nikolov et al. 2021
for surface Dice, boundary voxels for HD95), so that readers can compare; nothing is rewritten here.
"""

import warnings
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from kd.records import MeasureName
from node.imaging import Grid
from node.pipeline import dice

TOLERANCE_MM = 1.0  # of surface Dice: about one voxel, and what two experts differ by
MARGIN = 2  # voxels kept around both structures before distances are computed

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Agreement:
    """One structure in one case."""

    dice: float
    nsd: float  # surface Dice at TOLERANCE_MM, 0 to 1
    hd95_mm: float
    found_ml: float
    true_ml: float

    def of(self, name: MeasureName) -> float:
        """Return one measure."""
        return {"dice": self.dice, "nsd": self.nsd, "hd95_mm": self.hd95_mm}[name]


def agreement(result: Mask, truth: Mask, grid: Grid) -> Agreement:
    """Compare two masks [Z, Y, X] on `grid`.

    Two empty masks agree fully. If only one is empty, surface Dice is 0 and HD95 the diagonal of
    the grid, the worst that could be: a missed structure must not make the mean look better.
    """
    volumes = (float(result.sum()) * grid.voxel_ml, float(truth.sum()) * grid.voxel_ml)
    if not result.any() or not truth.any():
        is_right = not result.any() and not truth.any()
        worst = float(np.linalg.norm(grid.extent_mm))
        return Agreement(float(is_right), float(is_right), 0.0 if is_right else worst, *volumes)
    both = _cropped(result, truth)
    nsd, hd95 = _surfaces(both[0], both[1], grid.spacing_mm)
    return Agreement(dice(result, truth), nsd, hd95, *volumes)


def _surfaces(result: Mask, truth: Mask, spacing_mm: tuple[float, ...]) -> tuple[float, float]:
    # imported here: MONAI takes seconds to load, and only a validation needs it
    from monai.metrics.hausdorff_distance import compute_hausdorff_distance  # noqa: PLC0415
    from monai.metrics.surface_dice import compute_surface_dice  # noqa: PLC0415

    a, b = (torch.from_numpy(mask)[None, None].float() for mask in (result, truth))
    spacing = [float(s) for s in spacing_mm]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # MONAI warns of its own options
        nsd = compute_surface_dice(
            a, b, [TOLERANCE_MM], include_background=True, spacing=spacing, use_subvoxels=True
        )
        hd95 = compute_hausdorff_distance(
            a, b, include_background=True, percentile=95, spacing=spacing
        )
    return float(nsd), float(hd95)


def _cropped(result: Mask, truth: Mask) -> tuple[Mask, Mask]:
    """Cut both masks to their common box; distances do not change, time does."""
    places = np.argwhere(result | truth)
    low, high = places.min(0), places.max(0) + 1
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    a, b = (np.pad(mask[box], MARGIN) for mask in (result, truth))
    return a, b
