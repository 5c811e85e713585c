"""Taking over an nnU-Net results folder, without nnU-Net: its files are written here by hand."""

import json
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch

from kd.data.splits import names_of
from kd.errors import BadRecipe, BadSplit, BadTeacher
from kd.networks.nnunet_weights import _decoder_names, _encoder_names
from kd.networks.oriented import Oriented
from kd.networks.unet import UNet
from kd.planning.nnunet import import_folder
from kd.planning.nnunet_plans import intensity_of, read_results, topology_of
from kd.recipe.choices import Topology
from kd.recipe.read import TEACHER, Recipe
from kd.training.runs import imported_folds, open_run, open_runs, released_runs
from node.imaging import Grid, Volume
from node.imaging.intensity import Clip, Standardise, ZScore
from node.imaging.nifti import write

CPU = torch.device("cpu")
STRIDES = [[1, 1, 1], [1, 2, 2], [2, 2, 2]]
DATASET = "Dataset901_Small"


def _plans(blocks: str = "plain") -> dict[str, Any]:
    counts = {"plain": "n_conv_per_stage", "residual": "n_blocks_per_stage"}
    name = {"plain": "PlainConvUNet", "residual": "ResidualEncoderUNet"}[blocks]
    kwargs = {
        "n_stages": 3,
        "features_per_stage": [4, 8, 8],
        "conv_op": "torch.nn.modules.conv.Conv3d",
        "kernel_sizes": [[1, 3, 3], [3, 3, 3], [3, 3, 3]],
        "strides": STRIDES,
        counts[blocks]: [2, 1, 2],
        "n_conv_per_stage_decoder": [1, 2],
        "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
        "dropout_op": None,
    }
    return {
        "transpose_forward": [0, 1, 2],
        "original_median_shape_after_transp": [20, 24, 20],
        "original_median_spacing_after_transp": [1.5, 1.0, 1.0],
        "foreground_intensity_properties_per_channel": {
            "0": {"mean": 100.0, "std": 20.0, "percentile_00_5": 10.0, "percentile_99_5": 200.0}
        },
        "configurations": {
            "3d_fullres": {
                "patch_size": [8, 16, 16],
                "spacing": [1.5, 1.0, 1.0],
                "normalization_schemes": ["ZScoreNormalization"],
                "use_mask_for_norm": [False],
                "architecture": {
                    "network_class_name": f"dynamic_network_architectures.x.{name}",
                    "arch_kwargs": kwargs,
                },
            }
        },
    }


def _folder(root: Path, plans: dict[str, Any]) -> Path:
    folder = root / "nnUNetTrainer__nnUNetPlans__3d_fullres"
    (folder / "fold_0" / "validation").mkdir(parents=True)
    (folder / "fold_0" / "validation" / "case_7.nii.gz").touch()
    (folder / "plans.json").write_text(json.dumps(plans), encoding="utf-8")
    described = {"labels": {"background": 0, "a": 1, "b": 2}, "channel_names": {"0": "MRI"}}
    (folder / "dataset.json").write_text(json.dumps(described), encoding="utf-8")
    return folder


def _trained(topology: Topology, path: Path) -> UNet:
    """Write a checkpoint as nnU-Net does, with a numpy number, of random weights."""
    torch.manual_seed(0)
    network = UNet(topology, 3)
    with torch.no_grad():
        for weight in network.parameters():
            weight.add_(0.1 * torch.randn(weight.shape))
    names = _encoder_names(topology) | _decoder_names(topology)
    theirs = {names[ours]: weight for ours, weight in network.state_dict().items()}
    torch.save({"network_weights": theirs, "_best_ema": np.float64(0.5)}, path)
    return network.eval()


def _data(root: Path, affine: np.ndarray, *names: str) -> Path:
    """Return a raw data set of small images, without labels."""
    folder = root / DATASET
    (folder / "imagesTr").mkdir(parents=True)
    for name in names or ("case_1", "case_7"):
        image = Volume(np.ones((6, 7, 8), np.float32), Grid((6, 7, 8), affine))
        write(image, folder / "imagesTr" / f"{name}_0000.nii.gz")
    return folder


def _imported(folder: Path, data: Path, root: Path) -> Recipe:
    words: tuple[Literal["MR"], str] = ("MR", "taken-over")
    return import_folder(read_results(folder), data, words, root / "runs", root / "taken.yaml")


def _reopened(
    root: Path, plans: dict[str, Any], affine: np.ndarray
) -> tuple[UNet, Recipe, torch.nn.Module]:
    """Import one fold; return nnU-Net's network, the recipe and the imported network."""
    folder = _folder(root, plans)
    topology = topology_of(read_results(folder))
    network = _trained(topology, folder / "fold_0" / "checkpoint_final.pth")
    recipe = _imported(folder, _data(root, affine), root)
    return network, recipe, open_run(recipe, "teacher", root / "runs" / "teacher_0", CPU)[0]


LPS = np.array([[0, 0, 1.0, 0], [0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1]])
RAS = np.array([[0, 0, -1.0, 0], [0, -1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1]])
SAGITTAL = np.array([[1, 0, 0.0, 0], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 1]])


@pytest.mark.parametrize("blocks", ["plain", "residual"])
def test_every_weight_is_imported(tmp_path: Path, blocks: str) -> None:
    network, recipe, taken = _reopened(tmp_path, _plans(blocks), LPS)
    image = torch.randn(1, 1, 8, 16, 16)
    with torch.no_grad():
        torch.testing.assert_close(taken(image), network(image))
    assert imported_folds(tmp_path / "runs") == (("case_7",),)
    assert recipe.grid.patch_zyx == (8, 16, 16)
    assert recipe.strides_zyx == ((1, 1, 1), (1, 2, 2), (2, 2, 2))


@pytest.mark.parametrize("affine", [RAS, SAGITTAL], ids=["ras", "sagittal"])
def test_the_network_sees_its_own_axis_order(tmp_path: Path, affine: np.ndarray) -> None:
    network, recipe, taken = _reopened(tmp_path, _plans(), affine)
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


def test_the_identity_permutation_changes_nothing() -> None:
    network = UNet(
        Topology(
            widths=(2, 4),
            strides_zyx=((1, 1, 1), (2, 2, 2)),
            kernels_zyx=((3, 3, 3), (3, 3, 3)),
            convolutions=(1, 1),
            decoder_convolutions=(1,),
        ),
        2,
    )
    image = torch.randn(1, 1, 4, 4, 4)
    still = Oriented(network, (0, 1, 2))
    assert torch.equal(still(image), network(image))


def test_normalisation_comes_from_the_closed_list(tmp_path: Path) -> None:
    plans = _plans()
    chosen = plans["configurations"]["3d_fullres"]
    chosen["use_mask_for_norm"] = [True]
    folder = _folder(tmp_path / "a", plans)
    assert intensity_of(read_results(folder)) == (ZScore(nonzero_only=True, nonzero_box=True),)
    chosen["normalization_schemes"] = ["CTNormalization"]
    folder = _folder(tmp_path / "b", plans)
    expected = (Clip(10.0, 200.0), Standardise(100.0, 20.0))
    assert intensity_of(read_results(folder)) == expected
    chosen["normalization_schemes"] = ["RGBTo01Normalization"]
    with pytest.raises(BadTeacher, match="RGBTo01"):
        intensity_of(read_results(_folder(tmp_path / "c", plans)))


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
    plans = _plans()
    plans["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"][key] = value
    with pytest.raises(BadTeacher, match=complaint):
        topology_of(read_results(_folder(tmp_path, plans)))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("resampling_fn_data", "resample_torch_fornnunet"),
        ("resampling_fn_data_kwargs", {"is_seg": False, "order": 1}),
    ],
)
def test_another_way_of_resampling_is_refused(tmp_path: Path, key: str, value: object) -> None:
    plans = _plans()
    plans["configurations"]["3d_fullres"][key] = value
    folder = _folder(tmp_path, plans)
    _trained(topology_of(read_results(folder)), folder / "fold_0" / "checkpoint_final.pth")
    data = _data(tmp_path, LPS)
    with pytest.raises(BadTeacher, match="default resampling, cubic"):
        _imported(folder, data, tmp_path)


def test_every_fold_becomes_one_network_of_the_released_teacher(tmp_path: Path) -> None:
    folder, data = _folder(tmp_path, _plans()), _data(tmp_path, LPS)
    topology = topology_of(read_results(folder))
    (folder / "fold_1" / "validation").mkdir(parents=True)
    (folder / "fold_1" / "validation" / "case_1.nii.gz").touch()
    for number in range(2):
        _trained(topology, folder / f"fold_{number}" / "checkpoint_final.pth")
    recipe = _imported(folder, data, tmp_path)
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
    _, recipe, _ = _reopened(tmp_path, _plans(), LPS)
    data = tmp_path / DATASET
    assert names_of(recipe, data, recipe.data.train) == ("case_1", "case_7")
    with pytest.raises(BadSplit, match="empty"):
        names_of(recipe, data, recipe.data.test)


def test_another_data_set_than_its_own_is_refused(tmp_path: Path) -> None:
    folder, data = _folder(tmp_path, _plans()), _data(tmp_path, LPS, "case_1")
    _trained(topology_of(read_results(folder)), folder / "fold_0" / "checkpoint_final.pth")
    with pytest.raises(BadTeacher, match="case_7, which Dataset901_Small lacks"):
        _imported(folder, data, tmp_path)


def test_a_checkpoint_that_is_a_program_is_refused(tmp_path: Path) -> None:
    folder = _folder(tmp_path, _plans())
    torch.save({"network_weights": Path}, folder / "fold_0" / "checkpoint_final.pth")
    data = _data(tmp_path, LPS)
    with pytest.raises(BadTeacher, match=r"fold_0/checkpoint_final\.pth"):
        _imported(folder, data, tmp_path)


def test_a_folder_without_a_finished_fold_is_refused(tmp_path: Path) -> None:
    data = _data(tmp_path, LPS)
    with pytest.raises(BadTeacher, match="no fold is finished"):
        _imported(_folder(tmp_path, _plans()), data, tmp_path)


def test_a_folder_of_another_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadTeacher, match=r"not an nnU-Net v2 results folder"):
        read_results(tmp_path)


def test_a_fold_of_all_cases_holds_none_out(tmp_path: Path) -> None:
    """nnU-Net's -f all validates on its training cases: these are no held-out cases."""
    folder, data = _folder(tmp_path, _plans()), _data(tmp_path, LPS)
    (folder / "fold_0").rename(folder / "fold_all")
    _trained(topology_of(read_results(folder)), folder / "fold_all" / "checkpoint_final.pth")
    recipe = _imported(folder, data, tmp_path)
    assert imported_folds(tmp_path / "runs") == ((),)
    _, history = open_run(recipe, TEACHER, tmp_path / "runs" / "teacher_0", CPU)
    assert history.cases_used == {"case_1", "case_7"}


def test_the_label_ignore_is_no_class(tmp_path: Path) -> None:
    folder, data = _folder(tmp_path, _plans()), _data(tmp_path, LPS)
    described = {"labels": {"background": 0, "a": 1, "b": 2, "ignore": 3}}
    (folder / "dataset.json").write_text(json.dumps(described), encoding="utf-8")
    _trained(topology_of(read_results(folder)), folder / "fold_0" / "checkpoint_final.pth")
    assert [part.label for part in _imported(folder, data, tmp_path).segments] == ["a", "b"]


def test_imagests_become_the_test_cases_of_an_imported_teacher(tmp_path: Path) -> None:
    folder, data = _folder(tmp_path, _plans()), _data(tmp_path, LPS)
    for place in ("imagesTs", "labelsTs"):
        (data / place).mkdir()
    image = data / "imagesTr" / "case_1_0000.nii.gz"
    (data / "imagesTs" / "case_9_0000.nii.gz").write_bytes(image.read_bytes())
    (data / "labelsTs" / "case_9.nii.gz").write_bytes(image.read_bytes())
    _trained(topology_of(read_results(folder)), folder / "fold_0" / "checkpoint_final.pth")
    recipe = _imported(folder, data, tmp_path)
    assert names_of(recipe, data, recipe.data.test) == ("case_9",)


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"labels": {"both": [1, 2]}}'])
def test_a_broken_dataset_json_is_refused(tmp_path: Path, content: str) -> None:
    folder = _folder(tmp_path, _plans())
    (folder / "dataset.json").write_text(content, encoding="utf-8")
    with pytest.raises(BadTeacher):
        read_results(folder)


def test_an_imported_recipe_is_replaced_only_on_request(tmp_path: Path) -> None:
    folder, data = _folder(tmp_path, _plans()), _data(tmp_path, LPS)
    (tmp_path / "taken.yaml").write_text("edited", encoding="utf-8")
    with pytest.raises(BadRecipe, match="--force"):
        _imported(folder, data, tmp_path)


def test_an_imported_recipe_proposes_what_the_releases_were_made_with(tmp_path: Path) -> None:
    _, recipe, _ = _reopened(tmp_path, _plans(), LPS)
    terms = recipe.distillation
    assert (terms.temperature, terms.kl, terms.fade) == (1.0, 1.0, 0.4)
    assert not terms.has_class_weights
    assert recipe.training.optimiser == "muon"
    assert recipe.gates.retention
