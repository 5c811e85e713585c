"""The report of a data set: everything that is odd about it, before anything trains."""

import json
import re
import shutil
from pathlib import Path

import msgspec
import numpy as np
import pytest

from kd.commands import main
from kd.data.splits import names_of, subjects_of
from kd.errors import BadCase
from kd.planning.findings import expected, inliers
from kd.planning.plan import plan_folder
from kd.planning.recipe_text import recipe_text
from kd.planning.survey import CaseFacts, Intensities
from kd.recipe.read import Recipe, read_recipe
from kd.training.steps import fold_names
from node.imaging import Grid, Labels, Volume
from node.imaging.nifti import read_labels, read_volume, write
from tests.support.kd_phantoms import data_set
from tests.support.kd_phantoms import recipe as phantoms


def _plan(data: Path, modality: str = "MR") -> int:
    out = data.with_name("r.yaml")
    words = ["plan", str(data), "--task", "balls", "--modality", modality, "--out", str(out)]
    return main([*words, "--force"])


def _stretched(path: Path, factor: float) -> None:
    """Make the spacing along z `factor` times as large."""
    is_labels = "labels" in path.parts
    source = read_labels(path) if is_labels else read_volume(path)
    affine = source.grid.affine.copy()
    affine[:3, 0] *= factor
    grid = Grid(source.grid.shape, affine)
    if isinstance(source, Labels):
        write(Labels(source.array, grid), path)
    else:
        write(Volume(source.array, grid), path)


def test_all_bad_cases_are_named_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = data_set(tmp_path / "balls", 6, 2)
    (data / "images" / "ball_1.nii.gz").unlink()
    (data / "labels" / "ball_3.nii.gz").write_bytes(b"no image")
    flat = read_volume(data / "images" / "ball_4.nii.gz")
    write(Volume(np.ones_like(flat.array), flat.grid), data / "images" / "ball_4.nii.gz")
    shutil.copy(data / "images" / "ball_0.nii.gz", data / "images" / "ball_7.nii.gz")
    assert _plan(data) == 1
    written = capsys.readouterr().err
    for part in ("ball_1", "ball_3", "one intensity everywhere: ball_4"):
        assert part in written
    assert "the same image is in two splits: ball_0 (train), ball_7 (val)" in written
    assert not (tmp_path / "r.yaml").exists()
    report = json.loads((tmp_path / "r.data.json").read_text(encoding="utf-8"))
    assert sorted(bad["name"] for bad in report["bad"]) == ["ball_1", "ball_3"]
    assert len([one for one in report["findings"] if one["kind"] == "error"]) == 4
    page = (tmp_path / "r.data.html").read_text(encoding="utf-8")
    assert "8 cases, 2 of them cannot be used" in page
    assert not re.search(r"<script|src=|href=", page)


def test_an_image_with_two_names_is_one_subject(tmp_path: Path) -> None:
    data = data_set(tmp_path / "balls", 12, 0)
    (data / "splits.json").unlink()
    recipe = plan_folder(data, "balls", "MR", tmp_path / "r.yaml")
    train = names_of(recipe, data, recipe.data.train)
    assert subjects_of(recipe, data) == {}
    for kind in ("images", "labels"):
        shutil.copy(data / kind / f"{train[0]}.nii.gz", data / kind / f"{train[1]}.nii.gz")
    recipe = plan_folder(data, "balls", "MR", tmp_path / "again.yaml")
    assert subjects_of(recipe, data) == {train[0]: train[0], train[1]: train[0]}
    parts = fold_names(recipe, data)
    assert [train[1] in part for part in parts] == [train[0] in part for part in parts]


def test_cases_without_a_label_are_planned_as_negatives(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = data_set(tmp_path / "balls", 6, 2)
    _emptied(data, "ball_2")
    assert _plan(data) == 0
    assert "planned as negatives, which show no structure: ball_2" in capsys.readouterr().err
    recipe = read_recipe(tmp_path / "r.yaml")
    assert recipe.data.negatives
    assert recipe.data.partial == ()  # a negative lacks no label
    for number in (0, 1, 3, 4, 5):
        _emptied(data, f"ball_{number}")
    with pytest.raises(BadCase, match=r"label 1 .* is in no training case"):
        plan_folder(data, "balls", "MR", tmp_path / "none.yaml")


def _emptied(data: Path, name: str) -> None:
    """Remove every label of a case."""
    path = data / "labels" / f"{name}.nii.gz"
    labels = read_labels(path)
    write(Labels(np.zeros_like(labels.array), labels.grid), path)


def test_an_outlier_is_named_and_left_out_of_the_accepted_range(tmp_path: Path) -> None:
    data = data_set(tmp_path / "balls", 9, 1)
    for kind in ("images", "labels"):
        _stretched(data / kind / "ball_2.nii.gz", 10)
    said: list[str] = []
    recipe = plan_folder(data, "balls", "MR", tmp_path / "r.yaml", say=said.append)
    assert "warning: a spacing along z of 10 mm, far from the median of 1: ball_2" in said
    assert recipe.input.spacing_mm.high < 2
    assert recipe.input.field_of_view_mm.high < 60


def test_ordinary_cases_have_no_findings(tmp_path: Path) -> None:
    said: list[str] = []
    data = data_set(tmp_path / "balls", 6, 2)
    plan_folder(data, "balls", "MR", tmp_path / "r.yaml", say=said.append)
    assert said == []


@pytest.mark.parametrize(("modality", "shift"), [("CT", 0.0), ("MR", -1000.0)])
def test_the_other_modality_is_noticed(tmp_path: Path, modality: str, shift: float) -> None:
    data = data_set(tmp_path / "balls", 4, 1)
    for path in (data / "images").iterdir():
        image = read_volume(path)
        write(Volume(image.array + np.float32(shift), image.grid), path)
    said: list[str] = []
    plan_folder(data, "balls", modality, tmp_path / "r.yaml", say=said.append)  # type: ignore[arg-type]
    assert any(f"planned as {modality}" in line for line in said)


def test_a_label_that_half_of_the_cases_lack_is_proposed_as_partial(tmp_path: Path) -> None:
    data = data_set(tmp_path / "balls", 6, 2)
    for number in range(3):
        path = data / "labels" / f"ball_{number}.nii.gz"
        labels = read_labels(path)
        write(Labels(np.where(labels.array == 2, 0, labels.array), labels.grid), path)
    said: list[str] = []
    recipe = plan_folder(data, "balls", "MR", tmp_path / "r.yaml", say=said.append)
    assert recipe.data.partial == (2,)
    assert "label 2 (Structure 2) is missing in 3 of 6 cases" in said[0]


def _case(number: int, volume_ml: float) -> CaseFacts:
    values = Intensities(least=0, low=0, median=1, high=2, largest=2)
    return CaseFacts(
        name=f"c{number}",
        split="train",
        spacing_mm_zyx=(1, 1, 1),
        shape_zyx=(9, 9, 9),
        intensities=values,
        volumes_ml={1: volume_ml, **({2: 1.0} if number else {})},
        content=str(number),
    )


def test_expected_volumes_need_ten_cases_that_all_have_the_label() -> None:
    cases = [_case(number, 3.0 + 0.1 * number) for number in range(9)] + [_case(9, 90.0)]
    (one,) = expected(cases, {1: "a"})
    assert (one.what, one.segments, one.ml.low, one.ml.high) == ("a", (1,), 1.5, 7.6)
    assert expected(cases[:9], {1: "a"}) == ()


def test_values_up_to_twice_the_median_are_no_outliers() -> None:
    assert inliers([1.0, 1.0, 1.0, 1.9]) == [1.0, 1.0, 1.0, 1.9]
    assert inliers([1.0, 1.0, 1.0, 10.0]) == [1.0, 1.0, 1.0]
    assert inliers([1.0, 4.0, 16.0, 64.0]) == [1.0, 4.0, 16.0, 64.0], "a wide spread is ordinary"


def test_every_key_of_a_written_recipe_has_a_comment(tmp_path: Path) -> None:
    data = data_set(tmp_path / "balls", 6, 2)
    recipe = plan_folder(data, "balls", "MR", tmp_path / "r.yaml")
    lines = (tmp_path / "r.yaml").read_text(encoding="utf-8").splitlines()
    keys = [i for i, line in enumerate(lines) if re.match(r"( {2})?[a-z_]+:", line)]
    assert len(keys) > 80
    bare = [lines[i] for i in keys if not lines[i - 1].lstrip().startswith("# ")]
    within = {"label", "category", "type", "modifier", "colour_rgb"}  # of one segment
    assert {line.strip().split(":")[0] for line in bare} <= {*recipe.sizes, *within}
    assert read_recipe(tmp_path / "r.yaml") == recipe


def test_a_written_recipe_reads_back_equal(tmp_path: Path) -> None:
    recipe = msgspec.convert(msgspec.to_builtins(phantoms()), Recipe)
    (tmp_path / "r.yaml").write_text(recipe_text(recipe), encoding="utf-8")
    assert read_recipe(tmp_path / "r.yaml") == recipe
