"""Which cases a fold was not trained on, which folds are imported, and what students repeat."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from kd.data.splits import names_of
from kd.errors import BadTeacher
from kd.networks.export import export
from kd.networks.imported import ImportedNetwork
from kd.networks.inherit import inherit
from kd.networks.unet import UNet, parameters_of
from kd.planning.nnunet import Import, _package_mb, import_folder
from kd.planning.nnunet_folds import find_splits, held_out, read_fold_splits, used_by
from kd.planning.nnunet_plans import read_results, topology_of
from kd.recipe.read import TEACHER, read_recipe
from kd.training.runs import new_network, open_run
from node.student import Student
from tests.support.nnunet_folders import (
    CPU,
    LPS,
    SAGITTAL,
    imported,
    plans_of,
    raw_images,
    results_folder,
    trained_fold,
)


def _folds(folder: Path, held: dict[str, tuple[str, ...]]) -> None:
    """Train folds by their names, each with its predicted validation cases."""
    topology = topology_of(read_results(folder))
    shutil.rmtree(folder / "fold_0")
    for name, cases in held.items():
        (folder / name / "validation").mkdir(parents=True)
        for case in cases:
            (folder / name / "validation" / f"{case}.nii.gz").touch()
        trained_fold(topology, folder / name / "checkpoint_final.pth")


def _split_file(path: Path, *vals: tuple[str, ...]) -> Path:
    cases = ("case_1", "case_7", "case_8")
    content = [{"train": [c for c in cases if c not in val], "val": val} for val in vals]
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


CASES = ("case_1", "case_7", "case_8")


def test_one_fold_is_tested_on_its_own_validation_cases(tmp_path: Path) -> None:
    folder, data = results_folder(tmp_path, plans_of()), raw_images(tmp_path, LPS, *CASES)
    _folds(folder, {"fold_0": ("case_7",), "fold_1": ("case_8",), "fold_all": CASES})
    order = Import(read_results(folder), data, "MR", "one", folds=("0",))
    recipe = import_folder(order, tmp_path / "runs", tmp_path / "one.yaml")
    assert recipe.folds == 1
    assert names_of(recipe, data, recipe.data.test) == ("case_7",)
    assert names_of(recipe, data, recipe.data.train) == ("case_1", "case_8")


def test_a_fold_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    folder, data = results_folder(tmp_path, plans_of()), raw_images(tmp_path, LPS, *CASES)
    _folds(folder, {"fold_1": ("case_8",)})
    order = Import(read_results(folder), data, "MR", "one", folds=("4",))
    with pytest.raises(BadTeacher, match=r"no finished fold_4\. It has: fold_1"):
        import_folder(order, tmp_path / "runs", tmp_path / "one.yaml")


def test_a_case_is_held_out_only_if_split_and_validation_agree(tmp_path: Path) -> None:
    fold = tmp_path / "fold_0"
    splits = read_fold_splits(_split_file(tmp_path / "s.json", ("case_7", "case_8"), ("case_1",)))
    assert held_out(fold, ".nii.gz", None) == frozenset()
    assert held_out(fold, ".nii.gz", splits) == {"case_7", "case_8"}
    (fold / "validation").mkdir(parents=True)
    (fold / "validation" / "case_7.nii.gz").touch()
    (fold / "validation" / "case_1.nii.gz").touch()
    assert held_out(fold, ".nii.gz", splits) == {"case_7"}
    assert held_out(fold, ".nii.gz", None) == {"case_1", "case_7"}
    assert held_out(tmp_path / "fold_all", ".nii.gz", splits) == frozenset()
    assert held_out(tmp_path / "fold_7", ".nii.gz", splits) == frozenset()


def test_the_cases_that_a_fold_used_are_those_that_nnunet_lists(tmp_path: Path) -> None:
    splits = read_fold_splits(_split_file(tmp_path / "s.json", ("case_7", "case_8"), ("case_1",)))
    assert used_by(tmp_path / "fold_0", ".nii.gz", splits) == {"case_1"}
    assert used_by(tmp_path / "fold_0", ".nii.gz", None) == frozenset()
    assert used_by(tmp_path / "fold_all", ".nii.gz", splits) == set(CASES)
    (tmp_path / "fold_all" / "validation").mkdir(parents=True)
    (tmp_path / "fold_all" / "validation" / "case_9.nii.gz").touch()
    assert used_by(tmp_path / "fold_all", ".nii.gz", None) == {"case_9"}


def test_the_split_file_is_found_where_nnunet_keeps_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("nnUNet_preprocessed", raising=False)
    results = tmp_path / "nnUNet_results" / "Dataset901_Small" / "nnUNetTrainer__p__3d_fullres"
    results.mkdir(parents=True)
    assert find_splits(results, "Dataset901_Small") is None
    beside = tmp_path / "nnUNet_preprocessed" / "Dataset901_Small"
    beside.mkdir(parents=True)
    path = _split_file(beside / "splits_final.json", ("case_7",))
    assert find_splits(results, "Dataset901_Small") == path
    named = tmp_path / "named" / "Dataset901_Small"
    path.unlink()
    named.mkdir(parents=True)
    path = _split_file(named / "splits_final.json", ("case_7",))
    monkeypatch.setenv("nnUNet_preprocessed", str(tmp_path / "named"))
    assert find_splits(results, "Dataset901_Small") == path


@pytest.mark.parametrize("content", ["{", "{}", "[1]", '[{"train": ["a"]}]'])
def test_a_broken_split_file_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "splits_final.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(BadTeacher, match="splits_final"):
        read_fold_splits(path)


def test_a_cascade_and_several_channels_are_refused_by_name(tmp_path: Path) -> None:
    plans = plans_of()
    plans["configurations"]["3d_fullres"]["previous_stage"] = "3d_lowres"
    with pytest.raises(BadTeacher, match="a cascade: it reads the result of 3d_lowres"):
        read_results(results_folder(tmp_path / "a", plans))
    folder = results_folder(tmp_path / "b", plans_of())
    described = {"labels": {"background": 0, "a": 1}, "channel_names": {"0": "T1", "1": "FLAIR"}}
    (folder / "dataset.json").write_text(json.dumps(described), encoding="utf-8")
    with pytest.raises(BadTeacher, match=r"2 channels \(T1, FLAIR\)"):
        read_results(folder)


@pytest.mark.parametrize(
    ("channel", "modality"),
    [("CT", "CT"), ("MRI", "MR"), ("T1w", "MR"), ("FLAIR", "MR"), ("noNorm", None), ("PET", None)],
)
def test_the_modality_is_taken_from_a_channel_that_shows_it(
    tmp_path: Path, channel: str, modality: str | None
) -> None:
    folder = results_folder(tmp_path, plans_of())
    described = {"labels": {"background": 0, "a": 1}, "channel_names": {"0": channel}}
    (folder / "dataset.json").write_text(json.dumps(described), encoding="utf-8")
    assert read_results(folder).modality == modality


@pytest.mark.parametrize("blocks", ["plain", "residual"])
@pytest.mark.parametrize("affine", [LPS, SAGITTAL], ids=["lps", "sagittal"])
def test_students_have_the_stages_of_their_teacher_and_inherit(
    tmp_path: Path, affine: np.ndarray, blocks: str
) -> None:
    folder, data = results_folder(tmp_path, plans_of(blocks)), raw_images(tmp_path, affine)
    trained_fold(topology_of(read_results(folder)), folder / "fold_0" / "checkpoint_final.pth")
    recipe = imported(folder, data, tmp_path)
    teacher, _ = open_run(recipe, TEACHER, tmp_path / "runs" / "teacher_0", CPU)
    assert isinstance(teacher, UNet)
    for size in ("large", "small", "tiny"):
        assert recipe.net(size).inherits
        student = new_network(recipe, size)
        assert student.topology.kernels_zyx == teacher.topology.kernels_zyx
        assert student.topology.blocks == blocks
        inherit(student, teacher)
        assert read_recipe(tmp_path / "taken.yaml").topology(size) == student.topology
    assert not recipe.net("fast").inherits
    patch = torch.zeros(1, 1, *recipe.grid.patch_zyx)
    assert new_network(recipe, "fast")(patch).shape[2:] == patch.shape[2:]


@pytest.mark.slow
def test_a_default_size_teacher_may_be_released_whole(tmp_path: Path) -> None:
    plans = plans_of()
    chosen = plans["configurations"]["3d_fullres"]
    chosen["patch_size"] = [128, 128, 128]
    kwargs = chosen["architecture"]["arch_kwargs"]
    kwargs |= {
        "n_stages": 6,
        "features_per_stage": [32, 64, 128, 256, 320, 320],
        "kernel_sizes": [[3, 3, 3]] * 6,
        "strides": [[1, 1, 1]] + [[2, 2, 2]] * 5,
        "n_conv_per_stage": [2] * 6,
        "n_conv_per_stage_decoder": [2] * 5,
    }
    folder, data = results_folder(tmp_path, plans), raw_images(tmp_path, LPS)
    topology = topology_of(read_results(folder))
    network = trained_fold(topology, folder / "fold_0" / "checkpoint_final.pth")
    assert parameters_of(network) > 30e6
    recipe = imported(folder, data, tmp_path)
    assert recipe.largest_package_mb > 2 * 31 * 2  # float16, and as much for the students
    assert recipe.grid.patch_zyx == (128, 128, 128)
    assert recipe.training_patch_zyx == (96, 96, 96)
    assert recipe.topology("small").widths == (8, 16, 32, 64, 80, 80)

    opened, _ = open_run(recipe, TEACHER, tmp_path / "runs" / "teacher_0", CPU)
    patch = (32, 64, 64)  # smaller than its own, for the time of this test
    image = np.random.default_rng(0).normal(size=patch).astype(np.float32)
    export(opened, patch, [image], tmp_path / "teacher.onnx")
    assert (tmp_path / "teacher.onnx").stat().st_size < 1e6 * recipe.largest_package_mb
    with torch.no_grad():
        expected = network(torch.from_numpy(image)[None, None])[0].numpy()
    scores = Student(tmp_path / "teacher.onnx", threads=1)(image)
    assert np.abs(scores - expected).max() < 0.01 * np.abs(expected).max()


def test_folds_that_one_file_cannot_hold_are_refused(tmp_path: Path) -> None:
    plans = plans_of("residual")
    kwargs = plans["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"]
    kwargs["features_per_stage"] = [320, 3200, 3200]
    kwargs["n_blocks_per_stage"] = [1, 1, 1]
    results = read_results(results_folder(tmp_path, plans))
    imported = ImportedNetwork(
        topology=topology_of(results), n_classes=3, held_out=(), source="r/fold_0"
    )
    with pytest.raises(BadTeacher, match="--fold 0"):
        _package_mb(imported, 1)
