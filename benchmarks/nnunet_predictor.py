"""Time nnU-Net's own predictor on one image, for `pipeline.py`; needs an interpreter with nnunetv2.

    python benchmarks/nnunet_predictor.py IMAGE --classes 33 --spacing 1 1 1 --threads 2 [--mirror]

The network is nnU-Net's default for 3D (32 to 320 channels, up to six stages) with random weights,
which do not change the time. With `--patches N` only N patches are computed and the network's
seconds are extrapolated to all of them (`is_estimated`). Prints one line of JSON.
"""

import argparse
import json
import time

import numpy as np
import SimpleITK as sitk
import torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.utilities.get_network_from_plans import get_network_from_plans
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

BASE, WIDEST, LEAST_EDGE = 32, 320, 4  # nnU-Net's planner: channels, smallest edge


def stages_of(patch: list[int]) -> int:
    """Return how many stages nnU-Net gives a patch of nearly equal edges: none below 4 voxels."""
    stages = 1
    while all(edge % 2**stages == 0 and edge // 2**stages >= LEAST_EDGE for edge in patch):
        stages += 1
    return stages


def plans(spacing: list[float], patch: list[int]) -> dict[str, object]:
    """Return what nnU-Net's planner would write for one MR channel."""
    stages = stages_of(patch)
    kwargs = {
        "n_stages": stages,
        "features_per_stage": [min(BASE << i, WIDEST) for i in range(stages)],
        "conv_op": "torch.nn.modules.conv.Conv3d",
        "kernel_sizes": [[3, 3, 3]] * stages,
        "strides": [[1, 1, 1]] + [[2, 2, 2]] * (stages - 1),
        "n_conv_per_stage": [2] * stages,
        "n_conv_per_stage_decoder": [2] * (stages - 1),
        "conv_bias": True,
        "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
        "norm_op_kwargs": {"eps": 1e-5, "affine": True},
        "dropout_op": None,
        "dropout_op_kwargs": None,
        "nonlin": "torch.nn.LeakyReLU",
        "nonlin_kwargs": {"inplace": True},
    }
    resampling = {
        "resampling_fn_data": "resample_data_or_seg_to_shape",
        "resampling_fn_data_kwargs": {
            "is_seg": False, "order": 3, "order_z": 0, "force_separate_z": None
        },
        "resampling_fn_seg": "resample_data_or_seg_to_shape",
        "resampling_fn_seg_kwargs": {
            "is_seg": True, "order": 1, "order_z": 0, "force_separate_z": None
        },
        "resampling_fn_probabilities": "resample_data_or_seg_to_shape",
        "resampling_fn_probabilities_kwargs": {
            "is_seg": False, "order": 1, "order_z": 0, "force_separate_z": None
        },
    }  # fmt: skip
    configuration = {
        "data_identifier": "bench",
        "preprocessor_name": "DefaultPreprocessor",
        "batch_size": 2,
        "patch_size": patch,
        "spacing": spacing,
        "normalization_schemes": ["ZScoreNormalization"],
        "use_mask_for_norm": [False],
        "architecture": {
            "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
            "arch_kwargs": kwargs,
            "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
        },
        "batch_dice": False,
    } | resampling
    return {
        "dataset_name": "Dataset999_Bench",
        "plans_name": "nnUNetPlans",
        "original_median_spacing_after_transp": spacing,
        "image_reader_writer": "SimpleITKIO",
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "configurations": {"3d_fullres": configuration},
        "foreground_intensity_properties_per_channel": {"0": {}},
    }


def main() -> None:
    """Predict once and print the seconds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("image")
    parser.add_argument("--classes", type=int, required=True)
    parser.add_argument("--spacing", type=float, nargs=3, required=True)
    parser.add_argument("--patch", type=int, nargs=3, default=[128, 128, 128])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--mirror", action="store_true")
    parser.add_argument("--patches", type=int)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    labels = {"background": 0} | {str(k): k for k in range(1, chosen.classes)}
    dataset = {"channel_names": {"0": "MRI"}, "labels": labels, "file_ending": ".nii.gz"}
    manager = PlansManager(plans(chosen.spacing, chosen.patch))
    configuration = manager.get_configuration("3d_fullres")
    network = get_network_from_plans(
        configuration.network_arch_class_name,
        configuration.network_arch_init_kwargs,
        configuration.network_arch_init_kwargs_req_import,
        1,
        chosen.classes,
        deep_supervision=False,
    )
    predictor = nnUNetPredictor(
        use_mirroring=chosen.mirror,
        perform_everything_on_device=False,
        device=torch.device("cpu"),
        allow_tqdm=False,
    )
    axes = (0, 1, 2) if chosen.mirror else None
    weights = [network.state_dict()]
    predictor.manual_initialization(
        network, manager, configuration, weights, dataset, "nnUNetTrainer", axes
    )
    image = sitk.ReadImage(chosen.image)
    array = sitk.GetArrayFromImage(image)[None].astype(np.float32)
    counted = _counted(predictor, chosen.patches)
    begin = time.perf_counter()
    predictor.predict_single_npy_array(array, {"spacing": list(image.GetSpacing())[::-1]})
    total = time.perf_counter() - begin
    whole = total + counted["skipped"] * counted["seconds"] / max(1, counted["computed"])
    print(json.dumps({"seconds": {"predict": whole}, "is_estimated": counted["skipped"] > 0}))


def _counted(predictor: nnUNetPredictor, most: int | None) -> dict[str, float]:
    """Count patches and their seconds; patches beyond `most` return the last computed scores."""
    counts = {"computed": 0.0, "skipped": 0.0, "seconds": 0.0}
    compute = predictor._internal_maybe_mirror_and_predict  # noqa: SLF001 - to time it
    last: list[torch.Tensor] = []

    def timed(patch: torch.Tensor) -> torch.Tensor:
        if most is not None and counts["computed"] >= most:
            counts["skipped"] += 1
            return last[0].clone()
        begin = time.perf_counter()
        last[:] = [compute(patch)]
        counts["seconds"] += time.perf_counter() - begin
        counts["computed"] += 1
        return last[0]

    predictor._internal_maybe_mirror_and_predict = timed  # noqa: SLF001
    return counts


if __name__ == "__main__":
    main()
