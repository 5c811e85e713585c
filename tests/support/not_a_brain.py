"""Synthetic MR volumes that are as large as a head and show no brain, at 2 mm.

Intensities are in arbitrary units: noise of the coil around 60, tissue up to about 1000.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter

from node.imaging import Grid, Volume

SHAPE = (90, 110, 90)
SPACING_MM = 2.0
AIR, NOISE = 60.0, 12.0

Field = npt.NDArray[np.float64]


def grid() -> Grid:
    """Return a grid of axial slices around the origin, as in a scan of a head."""
    affine = np.zeros((4, 4))
    affine[0, 2] = affine[1, 1] = affine[2, 0] = SPACING_MM
    affine[:3, 3] = [-SPACING_MM * edge / 2 for edge in SHAPE[::-1]]
    affine[3, 3] = 1
    return Grid(SHAPE, affine)


def places() -> tuple[Field, Field, Field]:
    """Return x, y and z of every voxel in mm from the centre, each [Z, Y, X]."""
    z, y, x = (np.indices(SHAPE) - np.array(SHAPE)[:, None, None, None] / 2) * SPACING_MM
    return x, y, z


def _scanned(tissue: Field, blur_voxels: float = 0.5) -> Volume:
    noise = np.random.default_rng(1).normal(AIR, NOISE, SHAPE)
    array = gaussian_filter(tissue, blur_voxels) + noise
    return Volume(array.clip(0).astype(np.float32), grid())


def _texture(blur_voxels: float) -> Field:
    """Return smooth noise of mean 0 and standard deviation 1."""
    noise: Field = gaussian_filter(np.random.default_rng(2).normal(size=SHAPE), blur_voxels)
    return noise / noise.std()


def water_sphere() -> Volume:
    """Return the sphere of a scanner's daily check."""
    x, y, z = places()
    return _scanned(np.where(x * x + y * y + z * z < 85**2, 600.0, 0.0))


def sphere_in_a_shell() -> Volume:
    """Return an even sphere inside a dark and a bright shell, like skull and scalp."""
    x, y, z = places()
    radius = np.sqrt(x * x + y * y + z * z)
    return _scanned(np.select([radius < 70, radius < 76, radius < 85], [600.0, 100, 900]))


def grid_phantom() -> Volume:
    """Return a sphere of fluid that a lattice of plastic divides into cubes of 20 mm."""
    x, y, z = places()
    bars = np.any([abs(axis % 20 - 10) < 2 for axis in (x, y, z)], axis=0)
    return _scanned(600.0 * ((x * x + y * y + z * z < 80**2) & ~bars))


def orange() -> Volume:
    """Return a large orange: peel, white rind, ten wedges with dark walls, and a core."""
    x, y, z = places()
    radius, across = np.sqrt(x * x + y * y + z * z), np.sqrt(x * x + y * y)
    turns = np.arctan2(y, x) / (2 * np.pi) * 10
    wall_mm = abs(turns % 1 - 0.5) * 2 * np.pi * across / 10
    flesh = 620 + 40 * _texture(1.2)
    inside = np.select([across < 8, wall_mm < 1.5], [280.0, 300.0], flesh)
    return _scanned(np.select([radius < 70, radius < 76, radius < 78], [inside, 250.0, 900.0]))


def melon() -> Volume:
    """Return a melon: rind, flesh that is brighter inside, and a cavity with seeds."""
    x, y, z = places()
    size = np.sqrt((x / 70) ** 2 + (y / 88) ** 2 + (z / 68) ** 2)
    seeds = gaussian_filter((np.random.default_rng(3).random(SHAPE) < 0.01).astype(float), 0.8)
    cavity = np.where(seeds > 0.03, 350.0, 1000.0)
    flesh = 800 + 30 * _texture(2)
    layers = [size < 0.42, size < 0.8, size < 0.94, size < 1]
    return _scanned(np.select(layers, [cavity, flesh, 650.0, 500.0]))


def noise() -> Volume:
    """Return noise without any object."""
    array = np.random.default_rng(4).normal(500, 100, SHAPE)
    return Volume(array.clip(0).astype(np.float32), grid())


def air() -> Volume:
    """Return what a scanner receives without a patient: the noise of its coil."""
    array = abs(np.random.default_rng(5).normal(0, 10, SHAPE))
    return Volume(array.astype(np.float32), grid())


def zeros() -> Volume:
    """Return an image of one value."""
    return Volume(np.zeros(SHAPE, np.float32), grid())


def knee() -> Volume:
    """Return a tube of fat and muscle with two bones that end at a joint, and a kneecap."""
    x, y, z = places()
    across, from_bone = np.sqrt(x * x + y * y), np.sqrt(x * x + (y - 5) ** 2)
    kneecap = (x / 18) ** 2 + ((y + 45) / 8) ** 2 + (z / 18) ** 2 < 1
    bone = from_bone < np.where(abs(z) < 35, 38, 26)
    joint = (abs(z) <= 4) & (from_bone < 38)
    layers = [kneecap, joint, bone, across < 52, across < 62]
    return _scanned(np.select(layers, [800.0, 500.0, 800.0, 330.0, 850.0]))


def abdomen() -> Volume:
    """Return a trunk: fat, muscle, liver, spleen, loops of bowel and a spine."""
    x, y, z = places()
    size = np.sqrt((x / 88) ** 2 + (y / 75) ** 2)
    loops = [
        ((x - 10 * k + 20) / 14) ** 2 + ((y + 30) / 14) ** 2 + ((z + 10 * k) / 20) ** 2 < 1
        for k in range(6)
    ]
    layers = [
        (x / 8) ** 2 + ((y - 58) / 8) ** 2 < 1,  # spinal canal
        (x / 18) ** 2 + ((y - 50) / 18) ** 2 < 1,  # vertebrae
        *loops,
        ((x - 45) / 18) ** 2 + ((y - 20) / 22) ** 2 + ((z - 20) / 35) ** 2 < 1,  # spleen
        ((x + 35) / 45) ** 2 + ((y + 5) / 40) ** 2 + ((z - 20) / 60) ** 2 < 1,  # liver
        size < 0.85,
        size < 1,
    ]
    values = [250.0, 600.0, *(200.0 + 120 * k for k in range(6)), 550.0, 450.0, 350.0, 900.0]
    return _scanned(np.select(layers, values))


OBJECTS: dict[str, Callable[[], Volume]] = {
    "water sphere": water_sphere,
    "sphere in a shell": sphere_in_a_shell,
    "grid phantom": grid_phantom,
    "orange": orange,
    "melon": melon,
    "noise": noise,
    "air": air,
    "zeros": zeros,
    "knee": knee,
    "abdomen": abdomen,
}
