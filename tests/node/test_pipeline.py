"""The pipeline with a network whose answer anybody can predict."""

from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest

from node.errors import BadPackage
from node.imaging import Grid, Labels, Volume, nifti
from node.imaging.region_steps import ReplaceIslands
from node.imaging.sharpen import Sharpen
from node.package import Package
from node.pipeline import ROUNDING_VOXELS, dice, open_student, reference_dice, segment
from tests.support.packages import expected_labels, make_tiny_package, phantom


@pytest.fixture
def package(tmp_path: Path) -> Package:
    return make_tiny_package(tmp_path)


def test_labels_come_back_on_the_source_grid(package: Package) -> None:
    volume = phantom()
    result = segment(volume, package, open_student(package, "small"))
    assert result.labels.grid.is_close(volume.grid)
    np.testing.assert_array_equal(result.labels.array, expected_labels(volume).array)


@pytest.mark.parametrize("axes", [(0, 1, 2), (2, 0, 1), (1, 2, 0), (0, 2, 1)])
@pytest.mark.parametrize("flips", [(1, 1, 1), (-1, 1, 1), (1, -1, -1)])
def test_any_axis_order_gives_the_same_labels(
    package: Package, axes: tuple[int, int, int], flips: tuple[int, int, int]
) -> None:
    source = phantom((30, 24, 20))
    array = source.array.transpose(axes)[tuple(slice(None, None, f) for f in flips)]
    to_source = np.zeros((4, 4))
    to_source[3, 3] = 1
    for i, (axis, flip) in enumerate(zip(axes, flips, strict=True)):
        to_source[axis, i] = flip
        to_source[axis, 3] = 0 if flip > 0 else source.grid.shape[axis] - 1
    shape = (array.shape[0], array.shape[1], array.shape[2])
    volume = Volume(array, Grid(shape, source.grid.affine @ to_source))
    result = segment(volume, package, open_student(package, "small")).labels
    np.testing.assert_array_equal(result.array, expected_labels(volume).array)


def test_a_finer_source_gets_labels_at_its_own_resolution(package: Package) -> None:
    coarse = phantom((24, 26, 28))
    fine = Grid((48, 52, 56), coarse.grid.affine @ np.diag([0.5, 0.5, 0.5, 1]))
    array = coarse.array.repeat(2, 0).repeat(2, 1).repeat(2, 2)
    result = segment(Volume(array, fine), package, open_student(package, "small")).labels
    assert result.array.shape == (48, 52, 56)
    expected = expected_labels(Volume(array, fine)).array
    assert dice(result.array == 2, expected == 2) > 0.85


@pytest.mark.parametrize("sharpen", [None, Sharpen()])
def test_an_island_gets_its_second_best_class(package: Package, sharpen: Sharpen | None) -> None:
    """In any order of the axes: the scores are in the order of the model."""
    volume = phantom()
    volume.array[5, 6, 7] = 800.0  # of segment 2 in segment 1
    steps = (ReplaceIslands(segments=(2,), ml=0.01),)
    labels = {}
    for axes in ((0, 1, 2), (2, 0, 1)):
        affine = volume.grid.affine[:, [*axes, 3]]
        array = np.ascontiguousarray(volume.array.transpose(axes))
        turned = Volume(array, Grid((array.shape[0], array.shape[1], array.shape[2]), affine))
        for regions_of in ((), steps):
            changes = {"sharpen": sharpen, "regions": regions_of}
            manifest = msgspec.structs.replace(package.manifest, **changes)
            student = open_student(package, "small")
            result = segment(turned, replace(package, manifest=manifest), student).labels.array
            labels[len(regions_of)] = result.transpose(np.argsort(axes))
        assert labels[0][5, 6, 7] == 2
        assert labels[1][5, 6, 7] == 1
        labels[0][5, 6, 7] = 1
        np.testing.assert_array_equal(labels[1], labels[0])


def test_progress_ends_at_one_and_never_falls(package: Package) -> None:
    shares: list[float] = []
    segment(phantom(), package, open_student(package, "small"), shares.append)
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


def test_every_stage_is_timed(package: Package) -> None:
    seconds = segment(phantom(), package, open_student(package, "small")).seconds
    assert set(seconds) == {"intensity", "resample", "network", "back", "regions"}
    assert min(seconds.values()) >= 0


def test_the_reference_case_is_reproduced(package: Package) -> None:
    assert reference_dice(package, "small") == 1.0


def test_a_few_voxels_are_rounding_and_more_are_not(package: Package) -> None:
    file = package.folder / "reference/small.nii.gz"
    labels = nifti.read_labels(file)
    places = np.flatnonzero(labels.array == 2)
    for count, is_equal in ((ROUNDING_VOXELS, True), (ROUNDING_VOXELS + 1, False)):
        changed = labels.array.copy()
        changed.reshape(-1)[places[:count]] = 0
        nifti.write(Labels(changed, labels.grid), file)
        assert (reference_dice(package, "small") == 1.0) is is_equal


def test_reference_labels_without_a_segment_verify_nothing(package: Package) -> None:
    """Nothing against nothing would be a Dice of 1."""
    image = phantom()
    bright = Volume(np.minimum(image.array, 500), image.grid)
    nifti.write(bright, package.folder / "reference/image.nii.gz")
    nifti.write(expected_labels(bright), package.folder / "reference/small.nii.gz")
    with pytest.raises(BadPackage, match=r"small\.nii\.gz has no voxel of Right hippocampus"):
        reference_dice(package, "small")


def test_a_network_that_does_not_fit_the_manifest_is_refused(package: Package) -> None:
    grid = msgspec.structs.replace(package.manifest.grid, patch_zyx=(8, 8, 8))
    other = replace(package, manifest=msgspec.structs.replace(package.manifest, grid=grid))
    with pytest.raises(BadPackage, match=r"patch \(16, 16, 16\)"):
        open_student(other, "small")


def test_a_damaged_file_is_not_a_network(package: Package) -> None:
    (package.folder / "small.onnx").write_bytes(b"not a network")
    with pytest.raises(BadPackage, match="onnxruntime"):
        open_student(package, "small")


def test_two_empty_masks_agree() -> None:
    empty = np.zeros(3, bool)
    assert dice(empty, empty) == 1.0
    assert dice(empty, ~empty) == 0.0
