"""Results folders and raw data of nnU-Net, written by hand; the networks have random weights."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from kd.networks.nnunet_weights import _decoder_names, _encoder_names
from kd.networks.unet import UNet
from kd.planning.nnunet import Import, import_folder
from kd.planning.nnunet_plans import read_results
from kd.recipe.choices import Topology
from kd.recipe.read import Recipe
from node.imaging import Grid, Volume
from node.imaging.nifti import write

CPU = torch.device("cpu")
STRIDES = [[1, 1, 1], [1, 2, 2], [2, 2, 2]]


def plans_of(blocks: str = "plain") -> dict[str, Any]:
    """Return the plans of a small network."""
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


def results_folder(root: Path, plans: dict[str, Any]) -> Path:
    """Return a results folder whose fold 0 was validated on case_7."""
    folder = root / "nnUNetTrainer__nnUNetPlans__3d_fullres"
    (folder / "fold_0" / "validation").mkdir(parents=True)
    (folder / "fold_0" / "validation" / "case_7.nii.gz").touch()
    (folder / "plans.json").write_text(json.dumps(plans), encoding="utf-8")
    described = {"labels": {"background": 0, "a": 1, "b": 2}, "channel_names": {"0": "MRI"}}
    (folder / "dataset.json").write_text(json.dumps(described), encoding="utf-8")
    return folder


def trained_fold(topology: Topology, path: Path) -> UNet:
    """Write a checkpoint as nnU-Net does, with a numpy number, of random weights."""
    torch.manual_seed(0)
    network = UNet(topology, 3)
    with torch.no_grad():
        for weight in network.parameters():
            weight.add_(0.1 * torch.randn(weight.shape))
    names = _encoder_names(topology) | _decoder_names(topology)
    theirs = {names[ours]: weight for ours, weight in network.state_dict().items()}
    # nnU-Net's projections have no bias; ours is then 0
    for ours, name in names.items():
        if ".skip." in name and name.endswith("conv.bias") and name in theirs:
            del theirs[name]
            network.get_parameter(ours).data.zero_()
    torch.save({"network_weights": theirs, "_best_ema": np.float64(0.5)}, path)
    return network.eval()


def raw_images(root: Path, affine: np.ndarray, *names: str) -> Path:
    """Return a raw data set of small images, all different, without labels."""
    folder = root / "Dataset901_Small"
    (folder / "imagesTr").mkdir(parents=True)
    for number, name in enumerate(names or ("case_1", "case_7"), 1):
        image = Volume(np.full((6, 7, 8), number, np.float32), Grid((6, 7, 8), affine))
        write(image, folder / "imagesTr" / f"{name}_0000.nii.gz")
    return folder


def imported(folder: Path, data: Path, root: Path) -> Recipe:
    """Import a results folder."""
    order = Import(read_results(folder), data, "MR", "taken-over")
    return import_folder(order, root / "runs", root / "taken.yaml")


LPS = np.array([[0, 0, 1.0, 0], [0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1]])
RAS = np.array([[0, 0, -1.0, 0], [0, -1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1]])
SAGITTAL = np.array([[1, 0, 0.0, 0], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 1]])
