"""The brain package on whole heads of many scanners: structures have plausible places and volumes.

The checks need no reference labels: the left hippocampus must lie to the left of the right one, and
the cerebellum behind the brain stem. The series are not part of the project.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from node.commands.offline import series_files
from node.errors import ImplausibleResult, NodeError, OutsideModelRange, TooFewSlices
from node.imaging import Grid, Labels, Volume, nifti
from node.package import Package
from node.series.compose import Labelling, compose
from tests.support.anatomy import centres_mm, released, segmented
from tests.support.real_series import unpacked

NOW = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)
ROOT = Path(__file__).parents[2]
HEAD = ROOT / "node" / "commands" / "demo" / "colin27_head.nii.gz"
SERIES = (
    "mr_siemens_skyra_mprage",
    "mr_siemens_prisma_t1_2d_HFS",
    "mr_siemens_prisma_t1_2d_HFDR",
    "mr_ge_mr750_t1post_pgbm002",
    "mr_siemens_xa30_enhanced_t1",
)
PAIRED = (
    "cerebral white matter",
    "cerebral cortex",
    "lateral ventricle",
    "cerebellar cortex",
    "thalamus",
    "caudate nucleus",
    "putamen",
    "hippocampus",
)


@dataclass(frozen=True, eq=False)
class Anatomy:
    """The centre of each structure in patient coordinates, and its volume."""

    centres_mm: dict[str, np.ndarray]  # x to the left, y to the back, z to the head
    volumes_ml: dict[str, float]


def anatomy(labels: Labels, package: Package) -> Anatomy:
    volumes = labels.volumes_ml(package.manifest.numbers)
    centres = centres_mm(labels, package)
    return Anatomy(centres, {s.label: volumes[s.number] for s in package.manifest.segments})


@pytest.fixture(scope="module")
def package() -> Package:
    return released("brain-mr")


@pytest.fixture(scope="module")
def size(package: Package) -> str:
    """Return the smallest size, which is the least accurate."""
    return list(package.manifest.sizes)[-1]


def measured_anatomy(files: tuple[Path, ...], package: Package, size: str, out: Path) -> Anatomy:
    """Segment, read the SEG from the disk, and measure its structures."""
    return anatomy(segmented(files, package, size, out), package)


def check(anatomy_of_head: Anatomy) -> None:
    at, ml = anatomy_of_head.centres_mm, anatomy_of_head.volumes_ml
    for name in PAIRED:
        left, right = at[f"Left {name}"], at[f"Right {name}"]
        assert left[0] > right[0] + 10, f"{name}: sides"
        assert 0.5 < ml[f"Left {name}"] / ml[f"Right {name}"] < 2, f"{name}: sizes"
    stem, third = at["Brain stem"], at["Third ventricle"]
    for side in ("Left", "Right"):
        thalamus, cerebellum = at[f"{side} thalamus"], at[f"{side} cerebellar cortex"]
        caudate, cortex = at[f"{side} caudate nucleus"], at[f"{side} cerebral cortex"]
        assert thalamus[2] > stem[2] + 15, "thalamus above the brain stem"
        assert cerebellum[1] > stem[1] + 10, "cerebellum behind the brain stem"
        assert cortex[2] > cerebellum[2] + 30, "cerebrum above the cerebellum"
        assert caudate[1] < thalamus[1] - 5, "caudate nucleus in front of the thalamus"
        assert abs(thalamus[0] - third[0]) < 25, "thalamus beside the third ventricle"
        assert 100 < ml[f"{side} cerebral white matter"] < 400
        assert 130 < ml[f"{side} cerebral cortex"] < 500
        assert 1 < ml[f"{side} hippocampus"] < 8
    assert 10 < ml["Brain stem"] < 45


@pytest.mark.parametrize("name", SERIES)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_real_head_of_each_scanner_is_right(
    tmp_path: Path, package: Package, size: str, name: str
) -> None:
    files = series_files(unpacked(name, tmp_path), None)
    check(measured_anatomy(files, package, size, tmp_path / "out"))


@pytest.fixture(scope="module")
def head() -> Volume:
    return nifti.read_volume(HEAD)


def written(volume: Volume, folder: Path) -> tuple[Path, ...]:
    return compose(volume, folder, Labelling(), NOW).files


def part(volume: Volume, slices: slice) -> Volume:
    """Return some of the slices at their places."""
    array = volume.array[slices]
    affine = volume.grid.affine.copy()
    affine[:3, 3] += affine[:3, 0] * (slices.start or 0)
    affine[:3, 0] *= slices.step or 1
    return Volume(array, Grid((array.shape[0], *volume.grid.shape[1:]), affine))


def test_the_head_of_the_demo_is_right_at_every_size(
    tmp_path: Path, package: Package, head: Volume
) -> None:
    files = written(head, tmp_path / "series")
    for size in package.manifest.sizes:
        check(measured_anatomy(files, package, size, tmp_path / size))


def test_a_mirrored_head_has_its_sides_by_its_header(
    tmp_path: Path, package: Package, size: str, head: Volume
) -> None:
    """The sides follow the patient coordinates, not the appearance of the image."""
    mirrored = Volume(np.ascontiguousarray(head.array[:, :, ::-1]), head.grid)
    check(measured_anatomy(written(mirrored, tmp_path / "series"), package, size, tmp_path / "out"))


UNSUITABLE: dict[str, tuple[slice, type[NodeError], str]] = {
    "slices far apart": (slice(0, 178, 11), OutsideModelRange, "voxel spacing of 11 mm"),
    "few slices": (slice(80, 95), TooFewSlices, "15 slices"),
    "a slab": (slice(60, 110), OutsideModelRange, "field of view of 50 mm"),
}


@pytest.mark.parametrize("part_name", UNSUITABLE)
def test_a_part_of_a_head_is_unsuitable(
    tmp_path: Path, package: Package, size: str, head: Volume, part_name: str
) -> None:
    slices, kind, message = UNSUITABLE[part_name]
    files = written(part(head, slices), tmp_path / "series")
    with pytest.raises(kind, match=message):
        measured_anatomy(files, package, size, tmp_path / "out")
    assert not list(tmp_path.glob("out/*.dcm"))


@pytest.mark.parametrize("visible", [slice(0, 60), slice(110, 178)], ids=["below", "above"])
def test_a_head_without_most_of_its_brain_is_implausible(
    tmp_path: Path, package: Package, size: str, head: Volume, visible: slice
) -> None:
    array = np.zeros_like(head.array)  # beyond the coil there is no signal
    array[visible] = head.array[visible]
    files = written(Volume(array, head.grid), tmp_path / "series")
    with pytest.raises(ImplausibleResult, match="brain"):
        measured_anatomy(files, package, size, tmp_path / "out")
    assert not list(tmp_path.glob("out/*.dcm"))


@pytest.mark.parametrize("seed", [1, 2])
def test_a_bottle_is_implausible(tmp_path: Path, package: Package, size: str, seed: int) -> None:
    """A bottle is bright, round and as large as a head, but has no brain."""
    rng = np.random.default_rng(seed)
    z, y, x = np.indices((90, 110, 90)) - np.array([45, 55, 45])[:, None, None, None]
    bottle = ((x / 38) ** 2 + (y / 45) ** 2 < 1) & (abs(z) < 40)
    array = (bottle * 600 + rng.normal(60, 12, bottle.shape)).clip(0).astype(np.float32)
    affine = np.array([[0, 0, 2.0, -90], [0, 2.0, 0, -110], [2.0, 0, 0, -90], [0, 0, 0, 1.0]])
    grid = Grid((90, 110, 90), affine)
    files = written(Volume(array, grid), tmp_path / "series")
    with pytest.raises(ImplausibleResult, match="brain"):
        measured_anatomy(files, package, size, tmp_path / "out")
