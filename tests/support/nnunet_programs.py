"""Programs that run nnU-Net in its own environment, and the plan of a small network."""

import json
import os
import subprocess
import sys
from pathlib import Path

BESIDE = Path(sys.prefix, "nnunet", "bin", "python")
PYTHON = os.environ.get("NNUNET_PYTHON", str(BESIDE if BESIDE.exists() else sys.executable))

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


def has_nnunet() -> bool:
    """Return whether nnU-Net can be imported."""
    command = [PYTHON, "-c", "import nnunetv2"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def run_nnunet(root: Path, *words: str) -> None:
    """Run nnU-Net's interpreter with the folders raw, preprocessed and results below `root`."""
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


def shrink(path: Path) -> None:
    """Make the planned network small enough for five epochs on a CPU, as a user may."""
    plans = json.loads(path.read_text(encoding="utf-8"))
    chosen = plans["configurations"]["3d_fullres"]
    kwargs = chosen["architecture"]["arch_kwargs"]
    kwargs["features_per_stage"] = [min(f // 4, 32) for f in kwargs["features_per_stage"]]
    chosen["batch_size"] = 2
    chosen["patch_size"] = [24, 32, 24]  # smaller than the cases: stitching is compared as well
    path.write_text(json.dumps(plans), encoding="utf-8")
