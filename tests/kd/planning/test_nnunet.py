"""Taking over an nnU-Net results folder, without nnU-Net: its files are written by hand."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from kd.data.splits import names_of
from kd.errors import BadRecipe, BadSplit, BadTeacher
from kd.planning.nnunet_plans import intensity_of, read_results, topology_of
from kd.recipe.read import TEACHER
from kd.training.runs import imported_folds, open_run, open_runs, released_runs
from node.imaging import Grid, Volume
from node.imaging.intensity import Clip, Standardise, ZScore
from node.imaging.nifti import write
from tests.support.nnunet_folders import (
    CPU,
    LPS,
    RAS,
    SAGITTAL,
    imported,
    plans_of,
    raw_images,
    results_folder,
    trained_fold,
)


@pytest.mark.parametrize("blocks", ["plain", "residual"])
def test_every_weight_is_imported(tmp_path: Path, blocks: str) -> None:
    folder = results_folder(tmp_path, plans_of(blocks))
    results = read_results(folder)
    network = trained_fold(topology_of(results), folder / "fold_0" / "checkpoint_final.pth")
    data = raw_images(tmp_path, LPS)
    recipe = imported(folder, data, tmp_path)
    taken, _ = open_run(recipe, "teacher", tmp_path / "runs" / "teacher_0", CPU)
    image = torch.randn(1, 1, 8, 16, 16)
    with torch.no_grad():
        torch.testing.assert_close(taken(image), network(image))
    assert imported_folds(tmp_path / "runs") == (("case_7",),)
    assert recipe.grid.patch_zyx == (8, 16, 16)
    assert recipe.strides_zyx == ((1, 1, 1), (1, 2, 2), (2, 2, 2))


@pytest.mark.parametrize("affine", [RAS, SAGITTAL], ids=["ras", "sagittal"])
def test_the_network_sees_its_own_axis_order(tmp_path: Path, affine: np.ndarray) -> None:
    folder = results_folder(tmp_path, plans_of())
    results = read_results(folder)
    network = trained_fold(topology_of(results), folder / "fold_0" / "checkpoint_final.pth")
    data = raw_images(tmp_path, affine)
    recipe = imported(folder, data, tmp_path)
    taken, _ = open_run(recipe, "teacher", tmp_path / "runs" / "teacher_0", CPU)
    own = torch.randn(1, 1, 8, 16, 16)  # in the order of its files
    if affine is RAS:
        given, back = own, (0, 1, 2, 3, 4)
        assert recipe.grid.orientation == "RAS"
    else:
        # file axes: left, down, back; the node gives: down, back, left
        given, back = own.permute(0, 1, 3, 4, 2), (0, 1, 4, 2, 3)
        assert recipe.grid.orientation == "LPI"
        assert recipe.grid.patch_zyx == (16, 16, 8)
        assert recipe.grid.spacing_mm_zyx == (1.0, 1.0, 1.5)
    with torch.no_grad():
        torch.testing.assert_close(taken(given).permute(back), network(own))


def test_normalisation_comes_from_the_closed_list(tmp_path: Path) -> None:
    plans = plans_of()
    chosen = plans["configurations"]["3d_fullres"]
    chosen["use_mask_for_norm"] = [True]
    folder = results_folder(tmp_path / "a", plans)
    assert intensity_of(read_results(folder)) == (ZScore(nonzero_only=True, nonzero_box=True),)
    chosen["normalization_schemes"] = ["CTNormalization"]
    folder = results_folder(tmp_path / "b", plans)
    expected = (Clip(10.0, 200.0), Standardise(100.0, 20.0))
    assert intensity_of(read_results(folder)) == expected
    chosen["normalization_schemes"] = ["RGBTo01Normalization"]
    with pytest.raises(BadTeacher, match="RGBTo01"):
        intensity_of(read_results(results_folder(tmp_path / "c", plans)))


@pytest.mark.parametrize(
    ("key", "value", "complaint"),
    [
        ("norm_op", "torch.nn.BatchNorm3d", "InstanceNorm"),
        ("dropout_op", "torch.nn.Dropout3d", "dropout"),
        ("nonlin", "torch.nn.ReLU", "ReLU"),
        ("norm_op_kwargs", {"eps": 1e-2, "affine": True}, "eps"),
    ],
)
def test_an_architecture_that_kd_lacks_is_refused(
    tmp_path: Path, key: str, value: object, complaint: str
) -> None:
    plans = plans_of()
    plans["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"][key] = value
    with pytest.raises(BadTeacher, match=complaint):
        topology_of(read_results(results_folder(tmp_path, plans)))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("resampling_fn_data", "resample_torch_fornnunet"),
        ("resampling_fn_data_kwargs", {"is_seg": False, "order": 1}),
        ("resampling_fn_data_kwargs", {"force_separate_z": True}),
    ],
)
def test_another_way_of_resampling_is_refused(tmp_path: Path, key: str, value: object) -> None:
    plans = plans_of()
    plans["configurations"]["3d_fullres"][key] = value
    folder = results_folder(tmp_path, plans)
    trained_fold(topology_of(read_results(folder)), folder / "fold_0" / "checkpoint_final.pth")
    data = raw_images(tmp_path, LPS)
    with pytest.raises(BadTeacher, match="default resampling, cubic"):
        imported(folder, data, tmp_path)


def test_every_fold_becomes_one_network_of_the_released_teacher(tmp_path: Path) -> None:
    folder, data = results_folder(tmp_path, plans_of()), raw_images(tmp_path, LPS)
    topology = topology_of(read_results(folder))
    (folder / "fold_1" / "validation").mkdir(parents=True)
    (folder / "fold_1" / "validation" / "case_1.nii.gz").touch()
    for number in range(2):
        trained_fold(topology, folder / f"fold_{number}" / "checkpoint_final.pth")
    recipe = imported(folder, data, tmp_path)
    assert (recipe.folds, recipe.released_teacher) == (2, "ensemble")
    runs = released_runs(recipe, tmp_path / "runs", TEACHER)
    assert [run.name for run in runs] == ["teacher_0", "teacher_1"]
    whole, records = open_runs(recipe, TEACHER, runs, CPU)
    assert [run.cases for run in records] == [("case_1",), ("case_7",)]
    image = torch.randn(1, 1, 8, 16, 16)
    with torch.no_grad():
        parts = [open_run(recipe, TEACHER, run, CPU)[0](image) for run in runs]
        torch.testing.assert_close(whole(image), (parts[0] + parts[1]) / 2)


def test_without_a_test_folder_all_cases_are_training_cases(tmp_path: Path) -> None:
    folder, data = results_folder(tmp_path, plans_of()), raw_images(tmp_path, LPS)
    trained_fold(topology_of(read_results(folder)), folder / "fold_0" / "checkpoint_final.pth")
    shutil.rmtree(folder / "fold_0" / "validation")
    recipe = imported(folder, data, tmp_path)
    assert names_of(recipe, data, recipe.data.train) == ("case_1", "case_7")
    with pytest.raises(BadSplit, match="empty"):
        names_of(recipe, data, recipe.data.test)


def test_another_data_set_than_its_own_is_refused(tmp_path: Path) -> None:
    folder, data = results_folder(tmp_path, plans_of()), raw_images(tmp_path, LPS, "case_1")
    trained_fold(topology_of(read_results(folder)), folder / "fold_0" / "checkpoint_final.pth")
    with pytest.raises(BadTeacher, match="case_7, which Dataset901_Small lacks"):
        imported(folder, data, tmp_path)


def test_a_checkpoint_that_is_a_program_is_refused(tmp_path: Path) -> None:
    folder = results_folder(tmp_path, plans_of())
    torch.save({"network_weights": Path}, folder / "fold_0" / "checkpoint_final.pth")
    data = raw_images(tmp_path, LPS)
    with pytest.raises(BadTeacher, match=r"fold_0/checkpoint_final\.pth"):
        imported(folder, data, tmp_path)


def test_a_folder_without_a_finished_fold_is_refused(tmp_path: Path) -> None:
    data = raw_images(tmp_path, LPS)
    with pytest.raises(BadTeacher, match="no fold is finished"):
        imported(results_folder(tmp_path, plans_of()), data, tmp_path)


def test_a_folder_of_another_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadTeacher, match=r"not an nnU-Net v2 results folder"):
        read_results(tmp_path)


def test_a_fold_of_all_cases_holds_none_out(tmp_path: Path) -> None:
    """nnU-Net's -f all validates on its training cases: these are no held-out cases."""
    folder, data = results_folder(tmp_path, plans_of()), raw_images(tmp_path, LPS)
    (folder / "fold_0").rename(folder / "fold_all")
    trained_fold(topology_of(read_results(folder)), folder / "fold_all" / "checkpoint_final.pth")
    recipe = imported(folder, data, tmp_path)
    assert imported_folds(tmp_path / "runs") == ((),)
    _, history = open_run(recipe, TEACHER, tmp_path / "runs" / "teacher_0", CPU)
    assert history.cases_used == {"case_1", "case_7"}


def test_the_label_ignore_is_no_class(tmp_path: Path) -> None:
    folder, data = results_folder(tmp_path, plans_of()), raw_images(tmp_path, LPS)
    described = {"labels": {"background": 0, "a": 1, "b": 2, "ignore": 3}}
    (folder / "dataset.json").write_text(json.dumps(described), encoding="utf-8")
    trained_fold(topology_of(read_results(folder)), folder / "fold_0" / "checkpoint_final.pth")
    assert [part.label for part in imported(folder, data, tmp_path).segments] == ["a", "b"]


def _as_test_case(data: Path, name: str, intensity: float) -> None:
    """Write a small image of one intensity to imagesTs, and a file of that name to labelsTs."""
    for place in ("imagesTs", "labelsTs"):
        (data / place).mkdir(exist_ok=True)
    image = Volume(np.full((6, 7, 8), intensity, np.float32), Grid((6, 7, 8), LPS))
    write(image, data / "imagesTs" / f"{name}_0000.nii.gz")
    (data / "labelsTs" / f"{name}.nii.gz").touch()


def test_imagests_become_the_test_cases_of_an_imported_teacher(tmp_path: Path) -> None:
    folder, data = results_folder(tmp_path, plans_of()), raw_images(tmp_path, LPS)
    _as_test_case(data, "case_9", 9)
    trained_fold(topology_of(read_results(folder)), folder / "fold_0" / "checkpoint_final.pth")
    recipe = imported(folder, data, tmp_path)
    assert names_of(recipe, data, recipe.data.test) == ("case_9",)


def test_a_renamed_training_image_is_no_test_case(tmp_path: Path) -> None:
    folder, data = results_folder(tmp_path, plans_of()), raw_images(tmp_path, LPS)
    _as_test_case(data, "case_9", 2)
    trained_fold(topology_of(read_results(folder)), folder / "fold_0" / "checkpoint_final.pth")
    with pytest.raises(BadTeacher, match="case_9 has the same image as case_7"):
        imported(folder, data, tmp_path)
    assert not (tmp_path / "taken.yaml").exists()


def test_a_test_case_that_fold_all_was_validated_on_is_refused(tmp_path: Path) -> None:
    folder, data = results_folder(tmp_path, plans_of()), raw_images(tmp_path, LPS)
    (folder / "fold_0").rename(folder / "fold_all")
    (folder / "fold_all" / "validation" / "case_9.nii.gz").touch()
    _as_test_case(data, "case_9", 9)
    trained_fold(topology_of(read_results(folder)), folder / "fold_all" / "checkpoint_final.pth")
    with pytest.raises(BadTeacher, match="test case case_9 was used to train fold_all"):
        imported(folder, data, tmp_path)


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"labels": {"both": [1, 2]}}'])
def test_a_broken_dataset_json_is_refused(tmp_path: Path, content: str) -> None:
    folder = results_folder(tmp_path, plans_of())
    (folder / "dataset.json").write_text(content, encoding="utf-8")
    with pytest.raises(BadTeacher):
        read_results(folder)


def test_an_imported_recipe_is_replaced_only_on_request(tmp_path: Path) -> None:
    folder, data = results_folder(tmp_path, plans_of()), raw_images(tmp_path, LPS)
    (tmp_path / "taken.yaml").write_text("edited", encoding="utf-8")
    with pytest.raises(BadRecipe, match="--force"):
        imported(folder, data, tmp_path)


def test_an_imported_recipe_proposes_what_the_releases_were_made_with(tmp_path: Path) -> None:
    folder, data = results_folder(tmp_path, plans_of()), raw_images(tmp_path, LPS)
    trained_fold(topology_of(read_results(folder)), folder / "fold_0" / "checkpoint_final.pth")
    recipe = imported(folder, data, tmp_path)
    terms = recipe.distillation
    assert (terms.temperature, terms.kl, terms.fade) == (1.0, 1.0, 0.4)
    assert not terms.has_class_weights
    assert recipe.training.optimiser == "muon"
    assert recipe.gates.retention
