"""Networks that average the scores of an image and of its mirror image."""

from copy import deepcopy
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch

from kd.errors import BadRecipe
from kd.networks.export import export
from kd.networks.package_weights import load_folded, released_weights
from kd.networks.unet import UNet
from kd.recipe.choices import uniform
from kd.recipe.read import Recipe
from node.student import Student
from tests.support.kd_phantoms import RECIPE

STRIDES = ((1, 1, 1), (2, 2, 2))
SHAPE = (8, 16, 16)
CLASSES = (0, 2, 1, 3)  # two sides of one structure, and one in the middle


def network(stem_stride: int, fine_width: int) -> UNet:
    """Return a network with random weights in every head."""
    torch.manual_seed(5)
    topology = uniform(4, STRIDES, norm="batch", stem_stride=stem_stride)  # type: ignore[arg-type]
    result = UNet(msgspec.structs.replace(topology, fine_width=fine_width), len(CLASSES)).eval()
    for name, weight in result.named_parameters():
        if "head" in name:
            torch.nn.init.normal_(weight)
    return result


@pytest.mark.slow
@pytest.mark.parametrize(("stem_stride", "fine_width"), [(1, 0), (2, 0), (2, 3)])
def test_the_scores_are_the_mean_of_both_images(
    stem_stride: int, fine_width: int, tmp_path: Path
) -> None:
    plain = network(stem_stride, fine_width)
    image = torch.randn(1, 1, *SHAPE)
    with torch.no_grad():
        back = plain(image.flip(-1)).flip(-1)[:, list(CLASSES)]
        expected = ((plain(image) + back) / 2)[0].numpy()
    mirrored = deepcopy(plain)
    mirrored.average_mirror_images(CLASSES)
    patch = image[0, 0].numpy()
    export(mirrored, SHAPE, [patch], tmp_path / "small.onnx")
    assert np.abs(Student(tmp_path / "small.onnx", threads=1)(patch) - expected).max() < 0.02
    # a training may start from the released weights
    restored = network(stem_stride, fine_width)
    weights = released_weights(tmp_path / "small.onnx")
    load_folded(restored, weights, tmp_path / "small.onnx")
    restored.average_mirror_images(CLASSES)
    with torch.no_grad():
        assert np.abs(restored(image)[0].numpy() - expected).max() < 0.02
    released, ours = (dict(one.named_parameters()) for one in (mirrored, restored))
    name = "heads.0.weight"
    assert torch.allclose(ours[name], released[name], atol=1e-3)


def _segments(*sides: str | None) -> list[dict[str, object]]:
    parts = []
    for number, side in enumerate(sides, 1):
        part = RECIPE["segments"][0] | {"number": number, "label": f"part {number}"}  # type: ignore[index]
        if side is not None:
            part |= {"modifier": {"value": side, "scheme": "SCT", "meaning": "a side"}}
        parts.append(part)
    return parts


def test_left_and_right_of_one_structure_change_places() -> None:
    chosen = RECIPE | {"mirror": True, "segments": _segments("7771000", "24028007", None)}
    assert msgspec.convert(chosen, Recipe).mirrored_classes == CLASSES


def test_a_side_without_the_other_is_refused() -> None:
    chosen = RECIPE | {"mirror": True, "segments": _segments(None, "7771000")}
    with pytest.raises(BadRecipe, match=r"segment 2 \(part 2\) has no other side"):
        msgspec.convert(chosen, Recipe)
