"""Cases and splits: read, prepared, and refused by the name of the case."""

import json
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from kd.data.cases import pairs_in, prepare, read_cases, read_pair
from kd.data.splits import folds, names_of, read_splits
from kd.errors import BadCase, BadSplit
from kd.recipe.read import Recipe
from node.imaging import Grid, Labels, Volume
from node.imaging.nifti import write
from tests.support.kd_phantoms import data_set, pair, recipe


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return data_set(tmp_path / "balls", 2, 1)


def _relabel(folder: Path, array: np.ndarray, grid: Grid) -> None:
    write(Labels(array.astype(np.uint8), grid), folder / "labels" / "ball_0.nii.gz")


def test_cases_are_read_in_the_order_of_their_names(folder: Path) -> None:
    cases = read_cases(recipe(), folder, ["ball_1", "ball_0"])
    assert [case.name for case in cases] == ["ball_1", "ball_0"]
    assert abs(float(cases[0].image.array.mean())) < 1e-5
    assert set(np.unique(cases[0].labels.array)) == {0, 1, 2}


def test_a_case_in_another_orientation_is_prepared_alike(folder: Path) -> None:
    straight = prepare(recipe(), read_pair(recipe(), folder, "ball_0"))
    image, labels = pair(0)
    affine = image.grid.affine @ np.array(
        [[1, 0, 0, 0], [0, 0, -1, 23], [0, 1, 0, 0], [0, 0, 0, 1]], float
    )
    shape = (20, 20, 24)

    def turn(array: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(array[:, ::-1].transpose(0, 2, 1))

    write(Volume(turn(image.array), Grid(shape, affine)), folder / "images" / "ball_0.nii.gz")
    _relabel(folder, turn(labels.array), Grid(shape, affine))
    turned = prepare(recipe(), read_pair(recipe(), folder, "ball_0"))
    np.testing.assert_array_equal(straight.labels.array, turned.labels.array)
    np.testing.assert_allclose(straight.image.array, turned.image.array, atol=1e-5)


def test_labels_are_resampled_with_their_image(folder: Path) -> None:
    image, labels = pair(0)
    coarse = image.grid.affine @ np.diag([2.0, 1, 1, 1])
    write(Volume(image.array, Grid(image.grid.shape, coarse)), folder / "images/ball_0.nii.gz")
    _relabel(folder, labels.array, Grid(image.grid.shape, coarse))
    case = prepare(recipe(), read_pair(recipe(), folder, "ball_0"))
    assert case.labels.array.shape == case.image.array.shape == (40, 24, 20)
    grown = (case.labels.array == 1).sum() / (labels.array == 1).sum()
    assert 1.8 < grown < 2.2


@pytest.mark.parametrize("kind", ["images", "labels"])
def test_a_missing_file_is_named(folder: Path, kind: str) -> None:
    (folder / kind / "ball_0.nii.gz").unlink()
    with pytest.raises(BadCase, match=r"ball_0.* missing"):
        read_pair(recipe(), folder, "ball_0")


def test_an_empty_file_is_named(folder: Path) -> None:
    (folder / "labels" / "ball_0.nii.gz").write_bytes(b"")
    with pytest.raises(BadCase, match=r"ball_0.* empty"):
        read_pair(recipe(), folder, "ball_0")


def test_a_damaged_file_is_named(folder: Path) -> None:
    (folder / "images" / "ball_0.nii.gz").write_bytes(b"no image")
    with pytest.raises(BadCase, match=r"ball_0.* cannot be read"):
        read_pair(recipe(), folder, "ball_0")


def test_labels_without_any_structure_are_refused(folder: Path) -> None:
    image, _ = pair(0)
    _relabel(folder, np.zeros(image.grid.shape), image.grid)
    with pytest.raises(BadCase, match=r"ball_0: no voxel"):
        read_pair(recipe(), folder, "ball_0")


def test_a_case_without_labels_may_be_a_negative(folder: Path) -> None:
    _, labels = pair(0)
    _relabel(folder, np.zeros_like(labels.array), labels.grid)
    plain = recipe()
    with pytest.raises(BadCase, match=r"ball_0: no voxel is labelled\. .*data\.negatives: true"):
        read_pair(plain, folder, "ball_0")
    allowed = _with_data(plain, negatives=True)
    assert read_pair(allowed, folder, "ball_0").is_negative
    assert not read_pair(allowed, folder, "ball_1").is_negative
    with pytest.raises(BadCase, match=r"every segment is in data\.partial"):
        read_pair(_with_data(plain, negatives=True, partial=(1, 2)), folder, "ball_0")


def _with_data(chosen: Recipe, **changes: Any) -> Recipe:
    return msgspec.structs.replace(chosen, data=msgspec.structs.replace(chosen.data, **changes))


def test_a_label_outside_the_list_is_refused(folder: Path) -> None:
    image, labels = pair(0)
    _relabel(folder, labels.array + 1, image.grid)
    with pytest.raises(BadCase, match=r"ball_0: label 3"):
        read_pair(recipe(), folder, "ball_0")


def test_different_shapes_are_refused(folder: Path) -> None:
    image, labels = pair(0)
    smaller = Grid((19, 24, 20), image.grid.affine)
    _relabel(folder, labels.array[:19], smaller)
    with pytest.raises(BadCase, match=r"ball_0: image .* differ"):
        read_pair(recipe(), folder, "ball_0")


def test_different_affines_are_refused(folder: Path) -> None:
    image, labels = pair(0)
    moved = image.grid.affine.copy()
    moved[0, 3] += 1
    _relabel(folder, labels.array, Grid(image.grid.shape, moved))
    with pytest.raises(BadCase, match=r"ball_0: .*different affines"):
        read_pair(recipe(), folder, "ball_0")


def test_nan_is_refused(folder: Path) -> None:
    image, _ = pair(0)
    array = image.array.copy()
    array[3, 3, 3] = np.nan
    write(Volume(array, image.grid), folder / "images" / "ball_0.nii.gz")
    with pytest.raises(BadCase, match=r"ball_0: .*not finite"):
        read_pair(recipe(), folder, "ball_0")


def _splits(path: Path, content: object) -> Path:
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def test_a_case_in_two_splits_is_refused(tmp_path: Path) -> None:
    path = _splits(tmp_path / "s.json", {"train": ["a", "b"], "val": ["b"]})
    with pytest.raises(BadSplit, match="case b"):
        read_splits(path)


def test_a_subject_in_two_splits_is_refused(tmp_path: Path) -> None:
    content = {"train": ["a_left"], "val": ["a_right"], "subjects": {"a_left": "a", "a_right": "a"}}
    with pytest.raises(BadSplit, match="a_right"):
        read_splits(_splits(tmp_path / "s.json", content))


def test_an_unknown_split_is_named_with_the_known_ones(folder: Path) -> None:
    with pytest.raises(BadSplit, match="train, val"):
        names_of(recipe(), folder, "test")


def test_folds_cover_every_case_once_and_are_repeatable() -> None:
    names = [f"case_{i}" for i in range(11)]
    dealt = folds(names, 3)
    assert sorted(name for fold in dealt for name in fold) == sorted(names)
    assert dealt == folds(names, 3)
    assert {len(fold) for fold in dealt} == {3, 4}


def test_both_sides_of_a_subject_are_in_one_fold() -> None:
    subjects = {f"{side}_{i}": f"person_{i}" for i in range(10) for side in ("left", "right")}
    dealt = folds(list(subjects), 4, subjects)
    for fold in dealt:
        assert len(fold) == 2 * len({subjects[name] for name in fold})
    assert sorted(name for fold in dealt for name in fold) == sorted(subjects)


def test_more_folds_than_subjects_are_refused() -> None:
    subjects = {"left": "one", "right": "one"}
    with pytest.raises(BadSplit, match="1 training subjects cannot be divided into 2"):
        folds(list(subjects), 2, subjects)


@pytest.mark.parametrize("content", ["[]", '{"subjects": []}', "no json"])
def test_a_split_file_of_another_shape_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "s.json").write_text(content, encoding="utf-8")
    with pytest.raises(BadSplit, match=r"s\.json"):
        read_splits(tmp_path / "s.json")


@pytest.mark.parametrize("strange", [1, None, ["a"], {"name": "a"}])
def test_an_entry_that_is_no_case_name_is_refused(tmp_path: Path, strange: object) -> None:
    path = _splits(tmp_path / "s.json", {"seed": 3, "train": ["a", strange], "val": ["b"]})
    with pytest.raises(BadSplit, match=r"'train' has .* in its list, which is no case name"):
        read_splits(path)


def test_a_subject_without_a_name_is_refused(tmp_path: Path) -> None:
    content = {"train": ["a"], "val": ["b"], "subjects": {"a": 1}}
    with pytest.raises(BadSplit, match="maps each case to a name"):
        read_splits(_splits(tmp_path / "s.json", content))


def test_an_empty_split_is_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "splits.json").write_text('{"train": [], "val": ["ball_0"]}', encoding="utf-8")
    with pytest.raises(BadSplit, match="or it is empty"):
        names_of(recipe(), tmp_path, "train")


def test_a_recipe_may_require_another_orientation(folder: Path) -> None:
    ras = msgspec.structs.replace(recipe().grid, orientation="RAS")
    chosen = msgspec.structs.replace(recipe(), grid=ras)
    straight = prepare(recipe(), read_pair(recipe(), folder, "ball_0"))
    flipped = prepare(chosen, read_pair(chosen, folder, "ball_0"))
    np.testing.assert_array_equal(flipped.labels.array, straight.labels.array[:, ::-1, ::-1])
    corner = straight.labels.grid.affine @ [0, 23, 19, 1]
    np.testing.assert_allclose(flipped.labels.grid.affine[:3, 3], corner[:3])


def test_nnunets_channel_numbers_are_no_part_of_a_label_files_name(folder: Path) -> None:
    for path in (folder / "images").iterdir():
        path.rename(path.with_name(path.name.replace(".nii.gz", "_0000.nii.gz")))
    pairs = pairs_in(folder / "images", folder / "labels", 3)
    assert [case.name for case in pairs] == ["ball_0", "ball_1", "ball_2"]
