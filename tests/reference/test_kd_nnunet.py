"""Compare the node's pipeline with the predictor of a small nnU-Net that nnU-Net trained.

nnU-Net has other requirements, so `make setup` installs it into a separate environment;
NNUNET_PYTHON names the interpreter of another one. Without nnU-Net, or without the real cases,
these tests are skipped.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from kd.commands import main
from kd.data.cases import read_cases
from kd.data.soft_targets import read_maps
from kd.data.splits import names_of
from kd.networks.export import export
from kd.recipe.read import Recipe, read_recipe
from kd.records import HeldOut, read_report
from kd.release.runs import real_patches
from kd.training import steps
from kd.training.checkpoints import CHECKPOINT
from kd.training.runs import open_run
from kd.training.tasks import SOFT
from kd.training.trainer import Slice, pick_device
from node.imaging.nifti import read_labels, read_volume
from node.package import Manifest, Package, Size, load
from node.package.manifest import Provenance, Reference
from node.pipeline import dice, open_student, segment
from tests.support.kd_training import fill_in
from tests.support.nnunet_programs import PREDICT, RESIDUAL, TRAIN, has_nnunet, run_nnunet, shrink

REAL = Path(__file__).parents[3] / "shared" / "data" / "msd_hippocampus"
N_TRAIN, N_TEST = 8, 2
LEAST_DICE = 0.999
DATASET = "Dataset901_Hippocampus"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Real cases in nnU-Net's raw layout, and a network trained on them for five epochs."""
    if not REAL.is_dir():
        pytest.skip("the real hippocampus cases are not here")
    if not has_nnunet():
        pytest.skip("nnunetv2 is not installed: make setup, or NNUNET_PYTHON names its interpreter")
    root = tmp_path_factory.mktemp("nnunet")
    names = json.loads((REAL / "splits.json").read_text(encoding="utf-8"))["train"]
    raw = root / "raw" / DATASET
    for sub in ("imagesTr", "labelsTr", "imagesTs"):
        (raw / sub).mkdir(parents=True)
    for name in names[:N_TRAIN]:
        shutil.copy(REAL / "images" / f"{name}.nii.gz", raw / "imagesTr" / f"{name}_0000.nii.gz")
        shutil.copy(REAL / "labels" / f"{name}.nii.gz", raw / "labelsTr")
    for name in names[N_TRAIN : N_TRAIN + N_TEST]:
        shutil.copy(REAL / "images" / f"{name}.nii.gz", raw / "imagesTs" / f"{name}_0000.nii.gz")
    described = {
        "channel_names": {"0": "MRI"},
        "labels": {"background": 0, "Anterior": 1, "Posterior": 2},
        "numTraining": N_TRAIN,
        "file_ending": ".nii.gz",
    }
    (raw / "dataset.json").write_text(json.dumps(described), encoding="utf-8")
    prepare = (
        "from nnunetv2.experiment_planning.plan_and_preprocess_api import *;"
        "extract_fingerprints([901], num_processes=1); plan_experiments([901])"
    )
    run_nnunet(root, "-c", prepare)
    shrink(root / "preprocessed" / DATASET / "nnUNetPlans.json")
    prepare = (
        "from nnunetv2.experiment_planning.plan_and_preprocess_api import *;"
        "preprocess([901], configurations=['3d_fullres'], num_processes=[1])"
    )
    run_nnunet(root, "-c", prepare)
    run_nnunet(root, "-c", TRAIN)
    run_nnunet(
        root, "-c", PREDICT, str(_results(root)), str(raw / "imagesTs"), str(root / "expected")
    )
    return root


def _results(root: Path) -> Path:
    return root / "results" / DATASET / "nnUNetTrainer_5epochs__nnUNetPlans__3d_fullres"


@pytest.fixture(scope="module")
def recipe(world: Path) -> Recipe:
    data = str(world / "raw" / DATASET)
    words = ["import", str(_results(world)), "--data", data, "--task", "imported"]
    words += ["--modality", "MR", "--runs", str(world / "runs")]
    assert main([*words, "--out", str(world / "imported.yaml")]) == 0
    return read_recipe(world / "imported.yaml")


def _package(recipe: Recipe, folder: Path) -> Package:
    """Return a package of the teacher alone, without reference case: enough for the pipeline."""
    manifest = Manifest(
        format=2,
        task=recipe.task,
        version="0.1",
        title="",
        intended_use="",
        input=recipe.input,
        grid=recipe.grid,
        intensity=recipe.intensity,
        segments=recipe.segments,
        sizes={"teacher": Size(file="teacher.onnx", parameters=1, macs_per_patch=1, width=1.0)},
        metrics={},
        reference=Reference(image="none.nii.gz", labels={}),
        provenance=Provenance(
            data_sets=(), licence="", training={}, commit="", libraries={}, created=""
        ),
        files={},
    )
    return Package(manifest, folder, "")


def test_the_node_gives_the_labels_of_nnunets_predictor(world: Path, recipe: Recipe) -> None:
    network, _ = open_run(recipe, "teacher", world / "runs" / "teacher_0", pick_device("cpu"))
    data = world / "raw" / DATASET
    names = [p.name.removesuffix(".nii.gz") for p in sorted((data / "labelsTr").iterdir())]
    patches = real_patches(read_cases(recipe, data, names[:2]), recipe.grid.patch_zyx)
    exported = export(network, recipe.grid.patch_zyx, patches, world / "teacher.onnx")
    assert exported.largest_difference < 1e-2
    package = _package(recipe, world)
    student = open_student(package, "teacher")
    for path in sorted((data / "imagesTs").iterdir()):
        mine = segment(read_volume(path), package, student).labels.array
        expected = read_labels(world / "expected" / path.name.replace("_0000", "")).array
        assert len(np.unique(expected)) == 3, "nnU-Net has learned too little to compare"
        for number in (1, 2):
            assert dice(mine == number, expected == number) >= LEAST_DICE, (path.name, number)


def test_each_case_gets_the_map_of_the_fold_that_held_it_out(world: Path, recipe: Recipe) -> None:
    data = world / "raw" / DATASET
    names = names_of(recipe, data, recipe.data.train)
    held_out = names_of(recipe, data, recipe.data.test)  # the validation cases of the only fold
    assert len(names) + len(held_out) == N_TRAIN
    assert steps.train_teacher(recipe, data, steps.Runs(world / "runs"), limits=Slice("cpu"))
    cases = read_cases(recipe, data, names)
    assert len(read_maps(cases, recipe.n_classes, world / "runs" / SOFT)) == len(names)


def test_a_residual_encoder_is_imported_weight_for_weight(world: Path, tmp_path: Path) -> None:
    plans = json.loads((_results(world) / "plans.json").read_text(encoding="utf-8"))
    kwargs = {
        "n_stages": 3,
        "features_per_stage": [4, 8, 8],
        "kernel_sizes": [[1, 3, 3], [3, 3, 3], [3, 3, 3]],
        "strides": [[1, 1, 1], [1, 2, 2], [2, 2, 2]],
        "n_blocks_per_stage": [1, 2, 3],
        "n_conv_per_stage_decoder": [1, 1],
        "conv_bias": True,
        "norm_op_kwargs": {"eps": 1e-05, "affine": True},
        "nonlin_kwargs": {"inplace": True},
    }
    described = plans["configurations"]["3d_fullres"]["architecture"]
    described["network_class_name"] = "dynamic_network_architectures.x.ResidualEncoderUNet"
    described["arch_kwargs"] = kwargs
    folder = tmp_path / "nnUNetTrainer__nnUNetPlans__3d_fullres"
    (folder / "fold_0").mkdir(parents=True)
    shutil.copy(_results(world) / "dataset.json", folder)
    (folder / "plans.json").write_text(json.dumps(plans), encoding="utf-8")
    run_nnunet(world, "-c", RESIDUAL, str(folder))
    kwargs["norm_op"] = "torch.nn.modules.instancenorm.InstanceNorm3d"
    (folder / "plans.json").write_text(json.dumps(plans), encoding="utf-8")
    data = str(world / "raw" / DATASET)
    words = ["import", str(folder), "--data", data, "--task", "x", "--modality", "MR"]
    out = tmp_path / "x.yaml"
    assert main([*words, "--runs", str(tmp_path / "runs"), "--out", str(out)]) == 0
    network, _ = open_run(
        read_recipe(out), "teacher", tmp_path / "runs" / "teacher_0", pick_device("cpu")
    )
    expected = np.load(folder / "logits.npz")
    with torch.no_grad():
        logits = network(torch.from_numpy(expected["image"])).numpy()
    np.testing.assert_allclose(logits, expected["logits"], atol=1e-4)


def _labelled(world: Path, root: Path) -> Path:
    """Return a copy of the raw data set, with the labels of its test images."""
    data = root / DATASET
    shutil.copytree(world / "raw" / DATASET, data)
    (data / "labelsTs").mkdir()
    for path in (data / "imagesTs").iterdir():
        shutil.copy(REAL / "labels" / path.name.replace("_0000", ""), data / "labelsTs")
    return data


def test_one_command_goes_from_a_trained_nnunet_to_a_package(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The released teacher is as accurate as nnU-Net's own predictor on the same test cases."""
    data, into = _labelled(world, tmp_path), tmp_path / "into"
    image = next((data / "imagesTs").iterdir())
    (tmp_path / "NOTICE").write_text("CC-BY-SA 4.0", encoding="utf-8")
    words = ["distil-nnunet", str(_results(world)), "--data", str(data), "--task", "real-mr"]
    words += ["--into", str(into), "--device", "cpu", "--steps", "150"]
    words += ["--reference-image", str(image), "--notice", str(tmp_path / "NOTICE")]
    assert main([*words, "--slice-minutes", "0"]) == 3
    assert "1 network imported" in capsys.readouterr().err
    fill_in(into / "recipe.yaml")
    chosen = yaml.safe_load((into / "recipe.yaml").read_text(encoding="utf-8"))
    for narrow in ("small", "tiny", "fast"):
        del chosen["sizes"][narrow]  # two channels learn nothing in so few steps
    chosen["training"]["ema"] = 0.9
    (into / "recipe.yaml").write_text(yaml.safe_dump(chosen), encoding="utf-8")
    assert main(words) == 0
    package = load(into / "models" / "real-mr" / "1.0")
    report = read_report(package.folder / "report.json")
    expected = []
    for path in sorted((data / "labelsTs").iterdir()):
        truth, theirs = (read_labels(p).array for p in (path, world / "expected" / path.name))
        expected += [dice(theirs == number, truth == number) for number in (1, 2)]
    assert report.sizes["teacher"].dice.mean == pytest.approx(np.mean(expected), abs=0.002)
    assert report.held_out == HeldOut(used=0, held_out=N_TEST, unknown=0)
    assert [one.distilled for one in report.baselines] == ["large"]


def test_a_fold_of_all_cases_tests_on_none_of_them(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """nnU-Net validates `-f all` on its training cases, which are then predicted there too."""
    results = tmp_path / _results(world).name
    shutil.copytree(_results(world), results)
    (results / "fold_0").rename(results / "fold_all")
    data = _labelled(world, tmp_path)
    words = ["import", str(results), "--task", "x", "--runs", str(tmp_path / "runs")]
    words += ["--out", str(tmp_path / "x.yaml"), "--data"]
    assert main([*words, str(world / "raw" / DATASET)]) == 0
    assert "There is no test case" in capsys.readouterr().err
    assert main([*words, str(data), "--force"]) == 0
    assert f"{N_TEST} test cases, which no imported fold was trained on" in capsys.readouterr().err
    trained = next((data / "imagesTr").iterdir()).name
    renamed = next((data / "imagesTs").iterdir())
    shutil.copy(data / "imagesTr" / trained, renamed)
    assert main([*words, str(data), "--force"]) == 1
    assert "has the same image as" in capsys.readouterr().err


def test_a_damaged_checkpoint_is_refused_by_name(world: Path, tmp_path: Path) -> None:
    copy = tmp_path / _results(world).name
    shutil.copytree(_results(world), copy)
    (copy / "fold_0" / "checkpoint_final.pth").write_bytes(b"no checkpoint")
    data = str(world / "raw" / DATASET)
    words = ["import", str(copy), "--data", data, "--task", "x", "--modality", "MR"]
    assert main([*words, "--runs", str(tmp_path), "--out", str(tmp_path / "x.yaml")]) == 1
    assert not (tmp_path / "teacher_0" / CHECKPOINT).exists()
