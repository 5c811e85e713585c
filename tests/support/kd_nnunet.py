"""A results folder as nnU-Net v2 writes it, of a network trained on phantoms in seconds."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import torch

from kd.networks.nnunet_weights import _decoder_names, _encoder_names
from kd.networks.unet import UNet
from kd.recipe.choices import Topology
from kd.recipe.read import Recipe
from kd.recipe.stages import Stages
from kd.training.steps import train
from kd.training.tasks import TrainingTask
from kd.training.trainer import Slice, averaged_network
from tests.support.kd_phantoms import data_set
from tests.support.kd_phantoms import recipe as phantoms
from tests.support.kd_training import silent

RESULTS = "nnUNetTrainer__nnUNetPlans__3d_fullres"
STEPS = 60
CPU = torch.device("cpu")


def raw_phantoms(root: Path, n_train: int = 6, n_test: int = 2) -> Path:
    """Write phantoms in nnU-Net's raw layout, with test folders."""
    folder = data_set(root / "Dataset901_Balls", n_train, n_test)
    names = json.loads((folder / "splits.json").read_text(encoding="utf-8"))
    for split, suffix in (("train", "Tr"), ("val", "Ts")):
        for kind, channel in (("images", "_0000"), ("labels", "")):
            (folder / f"{kind}{suffix}").mkdir()
            for name in names[split]:
                path = folder / kind / f"{name}.nii.gz"
                path.rename(folder / f"{kind}{suffix}" / f"{name}{channel}.nii.gz")
    (folder / "splits.json").unlink()
    described = {
        "channel_names": {"0": "MRI"},
        "labels": {"background": 0, "bright": 1, "dark": 2},
        "file_ending": ".nii.gz",
    }
    (folder / "dataset.json").write_text(json.dumps(described), encoding="utf-8")
    return folder


def trained_results(root: Path, raw: Path, held_out: Mapping[str, Sequence[str]]) -> Path:
    """Train one network on the raw phantoms; write it as every fold of a results folder.

    Args:
        root: parent of the results folder.
        raw: from `raw_phantoms`.
        held_out: name of each fold, such as fold_0, and the validation cases that it claims.
    """
    folder = root / RESULTS
    recipe = _teacher_recipe()
    topology = recipe.topology("teacher")
    names = sorted(p.name.removesuffix(".nii.gz") for p in (raw / "labelsTr").iterdir())
    run = root / "phantom-teacher"
    task = TrainingTask("teacher", tuple(names))
    train(recipe, raw, task, run, limits=Slice("cpu"), report=silent)
    network, _ = averaged_network(UNet(topology, recipe.n_classes), run, CPU)
    for name, cases in held_out.items():
        (folder / name / "validation").mkdir(parents=True)
        for case in cases:
            (folder / name / "validation" / f"{case}.nii.gz").touch()
        save_as_nnunet(network, folder / name / "checkpoint_final.pth")
    (folder / "plans.json").write_text(json.dumps(_plans(topology)), encoding="utf-8")
    content = (raw / "dataset.json").read_bytes()
    (folder / "dataset.json").write_bytes(content)
    return folder


def save_as_nnunet(network: UNet, path: Path) -> None:
    """Write the weights of a network under nnU-Net's names."""
    names = _encoder_names(network.topology) | _decoder_names(network.topology)
    state = network.state_dict()
    torch.save({"network_weights": {names[k]: v for k, v in state.items() if k in names}}, path)


def _teacher_recipe() -> Recipe:
    plain = phantoms(steps=STEPS, ema=0.9)
    teacher = msgspec.structs.replace(plain.net("teacher"), base=16)
    stages = Stages(
        widths=(16, 32),
        kernels_zyx=((1, 3, 3), (3, 3, 3)),
        convolutions=(2, 1),
        decoder_convolutions=(1,),
    )
    data = {
        "images": "imagesTr",
        "labels": "labelsTr",
        "image_ending": "_0000.nii.gz",
    }
    return msgspec.structs.replace(
        plain,
        stages=stages,
        sizes={"teacher": teacher},
        data=msgspec.structs.replace(plain.data, **data),
    )


def _plans(t: Topology) -> dict[str, Any]:
    kwargs = {
        "n_stages": len(t.widths),
        "features_per_stage": t.widths,
        "conv_op": "torch.nn.modules.conv.Conv3d",
        "kernel_sizes": t.kernels_zyx,
        "strides": t.strides_zyx,
        "n_conv_per_stage": t.convolutions,
        "n_conv_per_stage_decoder": t.decoder_convolutions,
        "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
        "dropout_op": None,
    }
    name = "dynamic_network_architectures.architectures.unet.PlainConvUNet"
    configuration = {
        "patch_size": [16, 16, 16],
        "spacing": [1.0, 1.0, 1.0],
        "normalization_schemes": ["ZScoreNormalization"],
        "use_mask_for_norm": [False],
        "architecture": {"network_class_name": name, "arch_kwargs": kwargs},
    }
    return {
        "transpose_forward": [0, 1, 2],
        "original_median_shape_after_transp": [20, 24, 20],
        "original_median_spacing_after_transp": [1.0, 1.0, 1.0],
        "configurations": {"3d_fullres": configuration},
    }
