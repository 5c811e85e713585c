"""Make a tiny model package with predictable labels: its network is a row of thresholds.

Segment n has every voxel with an intensity between `THRESHOLDS[n - 1]` and the next threshold. The
reference case is a cube in a cube. The package is complete, but has no clinical use.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from node.imaging import Grid, Labels, Volume, nifti
from node.imaging.intensity import Clip
from node.package import Code, Manifest, Package, Segment, Size, write_manifest
from node.package.manifest import (
    Expected,
    Input,
    ModelGrid,
    Provenance,
    Range,
    Reference,
    SizeName,
)

THRESHOLDS = (
    300.0,
    700.0,
)  # between the intensities of tests/support/phantoms.py, so that its labels are reproduced
PATCH_ZYX = (16, 16, 16)
SPACING_MM_ZYX = (1.0, 1.0, 1.0)
NAMES = ("Left hippocampus", "Right hippocampus")
_SIDES = (("7771000", "Left"), ("24028007", "Right"))
_WIDTHS: dict[SizeName, float] = {
    "teacher": 1.0,
    "large": 0.5,
    "small": 0.25,
    "tiny": 0.125,
    "fast": 1.0,
}


def make_tiny_package(
    models: Path,
    *,
    task: str = "tiny-mr",
    version: str = "1.0",
    modality: Literal["MR", "CT"] = "MR",
    sizes: Sequence[SizeName] = ("teacher", "small"),
    patch_zyx: tuple[int, int, int] = PATCH_ZYX,
    ballast: int = 0,
    slices: tuple[float, float] = (3, 500),
    expect: tuple[Expected, ...] = (),
) -> Package:
    """Write `models/<task>/<version>/` and return it, loaded and verified.

    Args:
        models: the folder of all packages (`model.dir` of a configuration).
        task: name of the task.
        version: version folder.
        modality: accepted modality.
        sizes: sizes of the package; only their names differ.
        patch_zyx: the network's patch.
        ballast: channels of a hidden layer without effect on the labels, for memory and time: a
            channel takes 4 bytes per voxel of the patch.
        slices: accepted number of slices.
        expect: plausible volumes of a result.
    """
    folder = models / task / version
    (folder / "reference").mkdir(parents=True)
    image = phantom()
    nifti.write(image, folder / "reference/image.nii.gz")
    for size in sizes:
        write_threshold_network(folder / f"{size}.onnx", patch_zyx, ballast=ballast)
        nifti.write(expected_labels(image), folder / f"reference/{size}.nii.gz")
    (folder / "card.md").write_text("# A row of thresholds, for tests\n", encoding="utf-8")
    classes = len(THRESHOLDS) + 1
    manifest = Manifest(
        format=2,
        task=task,
        version=version,
        title="Thresholds for tests",
        intended_use="Tests of the node. Not for any use with patients.",
        input=Input(
            modality=modality,
            spacing_mm=Range(low=0.2, high=10.0),
            field_of_view_mm=Range(low=2.0, high=600.0),
            slices=Range(low=slices[0], high=slices[1]),
        ),
        grid=ModelGrid(spacing_mm_zyx=SPACING_MM_ZYX, patch_zyx=patch_zyx, resample_order=1),
        intensity=(Clip(low=-1024.0, high=3071.0),),
        expect=expect,
        segments=tuple(_segment(number) for number in range(1, classes)),
        sizes={
            size: Size(
                file=f"{size}.onnx",
                parameters=2 * classes,
                macs_per_patch=classes * int(np.prod(patch_zyx)),
                width=_WIDTHS[size],
            )
            for size in sizes
        },
        metrics={},
        reference=Reference(
            image="reference/image.nii.gz",
            labels={size: f"reference/{size}.nii.gz" for size in sizes},
        ),
        provenance=Provenance(
            data_sets=(),
            licence="Apache-2.0",
            training={},
            commit="",
            libraries={"onnx": onnx.__version__},
            created="2026-01-01",
        ),
        files={},
    )
    return write_manifest(manifest, folder)


def phantom(shape: tuple[int, int, int] = (24, 20, 22)) -> Volume:
    """Return a cube of 900 inside a cube of 500 in air, at 1 mm, far from every threshold."""
    array = np.zeros(shape, np.float32)
    array[4:-4, 4:-4, 4:-4] = 500.0
    array[8:-8, 8:-8, 8:-8] = 900.0
    affine = np.zeros((4, 4))
    affine[2, 0] = affine[1, 1] = affine[0, 2] = affine[3, 3] = 1.0  # slice, row, column -> z, y, x
    affine[:3, 3] = (-10.0, -11.0, -12.0)
    return Volume(array, Grid(shape, affine))


def expected_labels(volume: Volume) -> Labels:
    """Return the labels of a volume on the package's grid: the class of each intensity."""
    return Labels(np.digitize(volume.array, THRESHOLDS).astype(np.uint8), volume.grid)


def write_threshold_network(
    path: Path, patch_zyx: tuple[int, int, int] = PATCH_ZYX, *, ballast: int = 0
) -> None:
    """Write the network: one 1 x 1 x 1 convolution whose largest output is the expected class.

    Class k scores k·v − (t1 + … + tk), so class k overtakes class k − 1 exactly at v = tk.
    """
    classes = len(THRESHOLDS) + 1
    slope = np.arange(classes, dtype=np.float32).reshape(classes, 1, 1, 1, 1)
    offset = -np.concatenate([[0.0], np.cumsum(THRESHOLDS)]).astype(np.float32)
    nodes, constants = [], {"offset": offset}
    if ballast:
        share = np.full((ballast, 1, 1, 1, 1), 1.0 / ballast, np.float32)
        constants |= {"spread": share, "slope": np.tile(slope, (1, ballast, 1, 1, 1))}
        nodes.append(helper.make_node("Conv", ["patch", "spread"], ["hidden"]))
        nodes.append(helper.make_node("Conv", ["hidden", "slope", "offset"], ["scores"]))
    else:
        constants["slope"] = slope
        nodes.append(helper.make_node("Conv", ["patch", "slope", "offset"], ["scores"]))
    graph = helper.make_graph(
        nodes,
        "thresholds",
        [helper.make_tensor_value_info("patch", TensorProto.FLOAT, [1, 1, *patch_zyx])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, classes, *patch_zyx])],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())


def _segment(number: int) -> Segment:
    value, side = _SIDES[number - 1]
    return Segment(
        number=number,
        label=NAMES[number - 1],
        category=Code(value="91723000", scheme="SCT", meaning="Anatomical Structure"),
        type=Code(value="5366008", scheme="SCT", meaning="Hippocampus"),
        modifier=Code(value=value, scheme="SCT", meaning=side),
        colour_rgb=((220, 80, 60), (60, 120, 220))[number - 1],
    )
