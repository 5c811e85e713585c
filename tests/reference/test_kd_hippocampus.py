"""The released hippocampus packages are anatomically possible."""

from pathlib import Path

import numpy as np
import pytest

from node.imaging.nifti import read_volume
from node.imaging.orient import orient
from node.package import Package, load, models_in
from node.pipeline import open_student, segment

ROOT = Path(__file__).parents[2]
PACKAGES = [p for p in models_in(ROOT / "models") if p.parent.name == "hippocampus-mr"]
CROPS = sorted((ROOT / "node" / "commands" / "demo").glob("colin27_[lr]*.nii.gz"))


@pytest.fixture(params=PACKAGES, ids=lambda folder: folder.name)
def package(request: pytest.FixtureRequest) -> Package:
    folder: Path = request.param
    return load(folder)


def test_there_is_a_package_and_both_sides_to_try() -> None:
    assert PACKAGES
    assert [path.name for path in CROPS] == ["colin27_left.nii.gz", "colin27_right.nii.gz"]


@pytest.mark.parametrize("crop", CROPS, ids=lambda path: path.name)
def test_anterior_lies_in_front_and_volumes_are_a_hippocampus(package: Package, crop: Path) -> None:
    volume = read_volume(crop)
    for size in package.manifest.sizes:
        student = open_student(package, size, threads=1)
        labels = segment(volume, package, student).labels
        _, turn = orient(volume)
        array = turn.apply(labels.array)
        front, back = (np.argwhere(array == number)[:, 1].mean() for number in (1, 2))
        assert front + 5 < back, size
        for number, ml in labels.volumes_ml((1, 2)).items():
            assert 1.0 < ml < 4.0, (size, number)
