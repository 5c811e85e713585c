"""The average of a data set's training images, aligned by their labels: it shows no person.

A package needs a reference image that anybody may see. Where no free image of the kind exists, the
average of many patients is one.
"""

from collections.abc import Callable, Iterable

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it

from kd.data.cases import Pair
from kd.errors import BadRecipe
from kd.recipe.read import Recipe
from node.imaging import Grid, Volume
from node.imaging.volume import Affine

FEWEST = 3  # structures that every case has: fewer do not determine a rotation
NO_AVERAGE = "Give --reference-image and --notice instead of an average"
Points = npt.NDArray[np.float64]  # [n, 3], mm, LPS


def landmarks(recipe: Recipe) -> tuple[int, ...]:
    """Return the segments that every case has, by which images are aligned.

    Raises:
        BadRecipe: fewer than three.
    """
    numbers = tuple(p.number for p in recipe.segments if p.number not in recipe.data.partial)
    if len(numbers) < FEWEST:
        message = f"{len(numbers)} segments are labelled in every case; alignment needs {FEWEST}"
        raise BadRecipe(message, advice=NO_AVERAGE)
    return numbers


def average(
    read: Callable[[], Iterable[Pair]],
    numbers: tuple[int, ...],
    spacing_mm_zyx: tuple[float, float, float],
    outside: float,
) -> Volume:
    """Return the voxel-wise median of all images, each rotated, shifted and scaled onto the mean.

    Centroids of the structures `numbers` are the landmarks, a similarity the fit (Umeyama 1991).

    Args:
        read: gives all cases, once more at each call, so that they need not fit into memory.
        numbers: structures to align by; those that a case lacks are left out.
        spacing_mm_zyx: of the result, whose axes run to head, back and left.
        outside: what is beyond an image, such as air.

    Raises:
        BadRecipe: fewer than three structures are in every case.
    """
    numbers = _in_every_case(read, numbers)
    marks, boxes = [], []
    for pair in read():
        centroids = _centroids(pair, numbers)
        marks.append(centroids)
        boxes.append(_corners(pair.image.grid)[[0, -1]] - centroids.mean(0))
    mean = np.mean([centroids - centroids.mean(0) for centroids in marks], axis=0)
    low, high = np.median([np.sort(box, axis=0) for box in boxes], axis=0)
    grid = _upright(low, high, spacing_mm_zyx)
    images = [
        _sampled(pair.image, grid, _similarity(mean, centroids), outside)
        for pair, centroids in zip(read(), marks, strict=True)
    ]
    return Volume(np.median(np.stack(images), axis=0).round().astype(np.int16), grid)


def _in_every_case(read: Callable[[], Iterable[Pair]], numbers: tuple[int, ...]) -> tuple[int, ...]:
    """Return those of the structures that are labelled in every case.

    Raises:
        BadRecipe: fewer than three.
    """
    present = [set(np.unique(pair.labels.array).tolist()) for pair in read()]
    common = tuple(n for n in numbers if all(n in labels for labels in present))
    if len(common) < FEWEST:
        message = f"{len(common)} structures are in every case; alignment needs {FEWEST}"
        raise BadRecipe(message, advice=NO_AVERAGE)
    return common


def _centroids(pair: Pair, numbers: tuple[int, ...]) -> Points:
    centroids = []
    for number in numbers:
        middle = np.argwhere(pair.labels.array == number).mean(0)
        centroids.append((pair.labels.grid.affine @ np.append(middle, 1))[:3])
    return np.array(centroids)


def _corners(grid: Grid) -> Points:
    ends = np.array(np.meshgrid(*[(0, n - 1) for n in grid.shape], indexing="ij")).reshape(3, 8)
    corners: Points = (grid.affine @ np.vstack([ends, np.ones(8)]))[:3].T
    return corners


def _upright(low: Points, high: Points, spacing_zyx: tuple[float, float, float]) -> Grid:
    """Return the grid between two corners in LPS."""
    spacing_xyz = spacing_zyx[::-1]
    n = [int((b - a) / s) + 1 for a, b, s in zip(low, high, spacing_xyz, strict=True)]  # x, y, z
    affine: Affine = np.zeros((4, 4))
    affine[2, 0], affine[1, 1], affine[0, 2] = spacing_zyx
    affine[:3, 3], affine[3, 3] = low, 1.0
    return Grid((n[2], n[1], n[0]), affine)


def _similarity(here: Points, there: Points) -> Affine:
    """Return the rotation, scale and shift that bring `here` nearest to `there` (4 x 4)."""
    middle, target = here.mean(0), there.mean(0)
    a, b = here - middle, there - target
    u, s, v = np.linalg.svd(b.T @ a)
    flip = np.diag([1.0, 1.0, np.sign(np.linalg.det(u @ v))])  # a body is never mirrored
    turn = u @ flip @ v
    scale = float((s * np.diag(flip)).sum() / (a**2).sum())
    result: Affine = np.eye(4)
    result[:3, :3] = scale * turn
    result[:3, 3] = target - result[:3, :3] @ middle
    return result


def _sampled(
    image: Volume, grid: Grid, to_image: Affine, outside: float
) -> npt.NDArray[np.float16]:
    """Sample the image linearly at the voxels of `grid`, moved by `to_image`."""
    index = np.linalg.inv(image.grid.affine) @ to_image @ grid.affine
    places = np.indices(grid.shape).reshape(3, -1)
    sources = index[:3, :3] @ places + index[:3, 3:]
    edges = np.array(image.array.shape)[:, None] - 1
    unit = torch.from_numpy((2 * sources / edges - 1)[::-1].T.astype(np.float32).copy())
    source = torch.from_numpy(image.array - outside)[None, None].float()
    view = F.grid_sample(source, unit.reshape(1, *grid.shape, 3), align_corners=True)
    result: npt.NDArray[np.float16] = (view[0, 0].numpy() + outside).astype(np.float16)
    return result
