"""Results on images without reference labels, by a network whose labels are known."""

from pathlib import Path

import msgspec
import numpy as np
import pytest

from kd.errors import BadCase
from kd.evaluation.unlabelled import NOTHING, UnlabelledSet, read_unlabelled, survey
from kd.recipe.sources import Unlabelled
from node.imaging import Labels, Volume, nifti
from node.package.manifest import Expected, Range
from tests.support.kd_phantoms import recipe
from tests.support.packages import NAMES, expected_labels, make_tiny_package, phantom

SHAPES = ((24, 20, 22), (26, 24, 24), (28, 26, 30))
UNLABELLED = Unlabelled(name="People", images="t2", against="t1", masks="lesions")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Write three people: the outer cube is visible on T2 and invisible on T1."""
    for place in ("t2", "t1", "lesions"):
        (tmp_path / place).mkdir()
    for number, shape in enumerate(SHAPES):
        image = phantom(shape)
        faded = np.where(image.array == 500, 0, image.array)
        lesion = np.zeros(shape, np.uint8)
        lesion[:8, 4, 4] = 1  # half of it in air, half in the outer cube
        nifti.write(image, tmp_path / f"t2/{number}.nii.gz")
        nifti.write(Volume(faded, image.grid), tmp_path / f"t1/{number}.nii.gz")
        nifti.write(Labels(lesion, image.grid), tmp_path / f"lesions/{number}.nii.gz")
    return tmp_path


def sets(folder: Path, chosen: Unlabelled = UNLABELLED) -> list[UnlabelledSet]:
    return read_unlabelled(msgspec.structs.replace(recipe(), unlabelled=(chosen,)), folder)


def test_volumes_contrasts_lesions_and_refusals_are_counted(folder: Path) -> None:
    (images,) = sets(folder)
    truth = [expected_labels(phantom(shape)) for shape in SHAPES]
    outer = [labels.volumes_ml((1, 2))[1] for labels in truth]
    expect = Expected(what="the outer cube", segments=(1,), ml=Range(low=0, high=max(outer) - 0.1))
    package = make_tiny_package(folder / "models", expect=(expect,))
    report = survey(package, images, lambda _: None)
    assert report.cases == 3
    for one in report.sizes.values():
        assert one.refused == 1
        assert one.volumes_ml[NAMES[0]] == pytest.approx(np.median(outer))
        assert one.against is not None
        assert one.against[NAMES[0]].percent is None, "no outer cube on T1"
        assert one.against[NAMES[1]].percent == pytest.approx(0)
        assert one.against[NAMES[1]].correlation == pytest.approx(1)
        assert one.masked == {NOTHING: 0.5, NAMES[0]: 0.5, NAMES[1]: 0.0}
    like_teacher = report.sizes["small"].like_teacher
    assert like_teacher is not None
    assert like_teacher.mean == 1
    assert report.sizes["teacher"].like_teacher is None


def test_a_file_that_is_absent_is_named(folder: Path) -> None:
    (folder / "lesions/1.nii.gz").unlink()
    with pytest.raises(BadCase, match=r"People: 1 has no 1\.nii\.gz"):
        sets(folder)
    with pytest.raises(BadCase, match="People: t3 has no image"):
        sets(folder, msgspec.structs.replace(UNLABELLED, images="t3"))


def test_a_lesion_on_another_grid_is_refused(folder: Path) -> None:
    image = phantom(SHAPES[1])
    nifti.write(Labels(np.ones(SHAPES[1], np.uint8), image.grid), folder / "lesions/0.nii.gz")
    (images,) = sets(folder)
    with pytest.raises(BadCase, match="0: the mask is not on the image's grid"):
        survey(make_tiny_package(folder / "models"), images, lambda _: None)
