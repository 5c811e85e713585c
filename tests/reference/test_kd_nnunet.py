"""Compare the node's pipeline with the predictor of a small nnU-Net that nnU-Net trained.

nnU-Net has other requirements, so `make setup` installs it into a separate environment;
NNUNET_PYTHON names the interpreter of another one. Without nnU-Net, or without the real cases,
these tests are skipped.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from kd.commands import main
from kd.data.cases import read_cases
from kd.data.soft_targets import read_maps
from kd.data.splits import names_of
from kd.networks.export import export
from kd.recipe.read import Recipe, read_recipe
from kd.release.runs import real_patches
from kd.training import steps
from kd.training.checkpoints import CHECKPOINT
from kd.training.runs import open_run
from kd.training.tasks import SOFT
from kd.training.trainer import Slice, pick_device
from node.imaging.nifti import read_labels, read_volume
from node.package import Manifest, Package, Size
from node.package.manifest import Provenance, Reference
from node.pipeline import dice, open_student, segment

REAL = Path(__file__).parents[3] / "shared" / "data" / "msd_hippocampus"
BESIDE = Path(sys.prefix, "nnunet", "bin", "python")
PYTHON = os.environ.get("NNUNET_PYTHON", str(BESIDE if BESIDE.exists() else sys.executable))
N_TRAIN, N_TEST = 8, 2
LEAST_DICE = 0.999
DATASET = "Dataset901_Hippocampus"

TRAIN = """
import sys, torch
from nnunetv2.run.run_training import run_training
torch.set_num_threads(2)
run_training("901", "3d_fullres", 0, "nnUNetTrainer_5epochs", device=torch.device("cpu"))
"""
PREDICT = """
import sys, torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
results, images, out = sys.argv[1:]
predictor = nnUNetPredictor(tile_step_size=0.5, use_gaussian=True, use_mirroring=False,
                            perform_everything_on_device=False, device=torch.device("cpu"))
predictor.initialize_from_trained_model_folder(results, (0,), "checkpoint_final.pth")
predictor.predict_from_files(images, out, num_processes_preprocessing=1,
                             num_processes_segmentation_export=1)
"""

RESIDUAL = """
import json, sys, numpy as np, torch
from dynamic_network_architectures.architectures.unet import ResidualEncoderUNet
chosen = json.load(open(sys.argv[1] + "/plans.json"))["configurations"]["3d_fullres"]
kwargs = chosen["architecture"]["arch_kwargs"] | {
    "conv_op": torch.nn.Conv3d, "norm_op": torch.nn.InstanceNorm3d, "nonlin": torch.nn.LeakyReLU}
torch.manual_seed(0)
network = ResidualEncoderUNet(1, num_classes=3, deep_supervision=False, **kwargs).eval()
for weight in network.parameters():
    weight.data.add_(0.05 * torch.randn_like(weight))
image = torch.randn(1, 1, 8, 16, 16)
with torch.no_grad():
    np.savez(sys.argv[1] + "/logits.npz", image=image.numpy(), logits=network(image).numpy())
torch.save({"network_weights": network.state_dict()}, sys.argv[1] + "/fold_0/checkpoint_final.pth")
"""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]


def _has_nnunet() -> bool:
    command = [PYTHON, "-c", "import nnunetv2"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def _run(root: Path, *words: str) -> None:
    folders = {f"nnUNet_{name}": str(root / name) for name in ("raw", "preprocessed", "results")}
    limits = {
        "nnUNet_n_proc_DA": "1",
        "nnUNet_def_n_proc": "1",
        "nnUNet_compile": "f",
        "OMP_NUM_THREADS": "2",
    }
    done = subprocess.run(
        [PYTHON, *words],
        env=os.environ | folders | limits,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Real cases in nnU-Net's raw layout, and a network trained on them for five epochs."""
    if not REAL.is_dir():
        pytest.skip("the real hippocampus cases are not here")
    if not _has_nnunet():
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
    _run(root, "-c", prepare)
    _shrink(root / "preprocessed" / DATASET / "nnUNetPlans.json")
    prepare = (
        "from nnunetv2.experiment_planning.plan_and_preprocess_api import *;"
        "preprocess([901], configurations=['3d_fullres'], num_processes=[1])"
    )
    _run(root, "-c", prepare)
    _run(root, "-c", TRAIN)
    _run(root, "-c", PREDICT, str(_results(root)), str(raw / "imagesTs"), str(root / "expected"))
    return root


def _shrink(path: Path) -> None:
    """Make the planned network small enough for five epochs on a CPU, as a user may."""
    plans = json.loads(path.read_text(encoding="utf-8"))
    chosen = plans["configurations"]["3d_fullres"]
    kwargs = chosen["architecture"]["arch_kwargs"]
    kwargs["features_per_stage"] = [min(f // 4, 32) for f in kwargs["features_per_stage"]]
    chosen["batch_size"] = 2
    chosen["patch_size"] = [24, 32, 24]  # smaller than the cases: stitching is compared as well
    path.write_text(json.dumps(plans), encoding="utf-8")


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
    _run(world, "-c", RESIDUAL, str(folder))
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


def test_a_damaged_checkpoint_is_refused_by_name(world: Path, tmp_path: Path) -> None:
    copy = tmp_path / _results(world).name
    shutil.copytree(_results(world), copy)
    (copy / "fold_0" / "checkpoint_final.pth").write_bytes(b"no checkpoint")
    data = str(world / "raw" / DATASET)
    words = ["import", str(copy), "--data", data, "--task", "x", "--modality", "MR"]
    assert main([*words, "--runs", str(tmp_path), "--out", str(tmp_path / "x.yaml")]) == 1
    assert not (tmp_path / "teacher_0" / CHECKPOINT).exists()
