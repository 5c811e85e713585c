"""The network: shapes, counts that can be worked out by hand, and views of a batch."""

import msgspec
import pytest
import torch

from kd.data.augment import Batch, view
from kd.data.device import CPU, Random
from kd.errors import BadRecipe
from kd.networks.unet import UNet, macs_of, parameters_of
from kd.recipe.choices import Augment, Topology, uniform
from tests.support.kd_phantoms import RECIPE, recipe

STRIDES = ((1, 1, 1), (2, 2, 2), (1, 2, 2))


@pytest.mark.parametrize("norm", ["instance", "batch"])
@pytest.mark.parametrize("stem_stride", [1, 2])
def test_every_head_has_its_own_resolution(norm: str, stem_stride: int) -> None:
    topology = uniform(4, STRIDES, norm=norm, stem_stride=stem_stride)  # type: ignore[arg-type]
    outputs = UNet(topology, 3).deep(torch.zeros(2, 1, 8, 16, 16))
    assert [tuple(o.shape) for o in outputs[:1]] == [(2, 3, 8, 16, 16)]
    assert tuple(outputs[1].shape) == (2, 3, 4 // stem_stride, 8 // stem_stride, 8 // stem_stride)


def test_a_fine_stage_corrects_nothing_at_first() -> None:
    plain = uniform(4, STRIDES, norm="batch", stem_stride=2)
    network = UNet(msgspec.structs.replace(plain, fine_width=3), 3).eval()
    without = UNet(plain, 3).eval()
    without.load_state_dict({k: v for k, v in network.state_dict().items() if "fine" not in k})
    image = torch.randn(1, 1, 8, 16, 16)
    torch.testing.assert_close(network(image), without(image))
    assert network.fine is not None
    torch.nn.init.ones_(network.fine.head.weight)
    assert not torch.allclose(network(image), without(image), atol=0.1)


def test_a_fine_stage_needs_a_stem_of_stride_two() -> None:
    with pytest.raises(BadRecipe, match="fine_width"):
        msgspec.structs.replace(uniform(4, STRIDES), fine_width=3).__post_init__()


def test_parameters_and_macs_of_a_tiny_network() -> None:
    topology = uniform(2, ((1, 1, 1), (2, 2, 2)), convolutions=1)
    network = UNet(topology, 2)
    # convolutions 1->2, 2->4, 4->2 of 27 taps with bias and two norm weights a channel;
    # up 4->2 of 8 taps with bias; head 2->2 with bias
    counted = (54 + 2 + 4) + (216 + 4 + 8) + (216 + 2 + 4) + (64 + 2) + (4 + 2)
    assert parameters_of(network) == counted
    voxels = 4 * 4 * 4
    macs = voxels * (54 + 216 + 4) + voxels // 8 * (216 + 64)
    assert macs_of(network, (4, 4, 4)) == macs
    assert next(network.parameters()).device.type == "cpu"


def test_a_least_width_holds_for_the_first_stages_only() -> None:
    strides = ((1, 1, 1), *((2, 2, 2),) * 4)
    assert uniform(4, strides, least_width=16).widths == (16, 16, 16, 32, 64)
    assert uniform(64, strides, least_width=16).widths == (64, 128, 256, 320, 320)


def test_residual_blocks_fit_together() -> None:
    plain = uniform(4, STRIDES)
    topology = msgspec.structs.replace(plain, blocks="residual")
    assert UNet(topology, 2)(torch.zeros(1, 1, 8, 16, 16)).shape == (1, 2, 8, 16, 16)


def test_lists_of_different_lengths_are_refused() -> None:
    with pytest.raises(BadRecipe):
        Topology(
            widths=(4, 8),
            strides_zyx=((1, 1, 1),),
            kernels_zyx=((3, 3, 3), (3, 3, 3)),
            convolutions=(2, 2),
            decoder_convolutions=(2,),
        )


def test_a_patch_that_does_not_fit_the_strides_is_refused() -> None:
    chosen = RECIPE | {"grid": RECIPE["grid"] | {"patch_zyx": [16, 15, 16]}}  # type: ignore[operator]
    with pytest.raises(BadRecipe, match="multiple"):
        msgspec.convert(chosen, type(recipe())).topology("teacher")


def _batch() -> Batch:
    labels = torch.zeros(3, 20, 20, 20, dtype=torch.uint8)
    labels[:, 6:12, 7:15, 4:10] = 1
    one_hot = torch.stack([labels == 0, labels == 1], 1).float()
    return Batch(labels[:, None].float() * 4 - 1, labels, one_hot)


def test_image_labels_and_soft_targets_show_the_same_view() -> None:
    still = Augment(
        noise_p=0, brightness_p=0, contrast_p=0, gamma_p=0, low_resolution_p=0, elastic_p=1
    )
    result = view(_batch(), (14, 14, 14), still, Random.seeded(CPU, 3))
    assert result.soft_bkzyx is not None
    assert result.image_bczyx.shape == (3, 1, 14, 14, 14)
    inside = result.image_bczyx[:, 0] > 1
    agreement = (inside == (result.labels_bzyx == 1)).float().mean()
    assert float(agreement) > 0.98
    assert float(((result.soft_bkzyx[:, 1] > 0.5) == inside).float().mean()) > 0.99


def test_anatomy_keeps_its_shape_in_mm_where_slices_are_thick() -> None:
    """A ball in 4 x 1 x 1 mm voxels, rotated about any axis: its extents stay those of a ball."""
    z, y, x = torch.meshgrid(*[torch.arange(n) - (n - 1) / 2 for n in (18, 60, 60)], indexing="ij")
    ball = (((4 * z) ** 2 + y**2 + x**2) < 15**2).to(torch.uint8)[None]
    turned = Augment(
        rotate_p=1, rotate_degrees=90, scale_p=0, shift_voxels=0, elastic_p=0, noise_p=0,
        brightness_p=0, contrast_p=0, gamma_p=0, low_resolution_p=0,
    )  # fmt: skip
    for seed in range(5):
        random = Random.seeded(CPU, seed)
        batch = Batch(ball[:, None].float(), ball)
        labels = view(batch, (12, 44, 44), turned, random, (4.0, 1.0, 1.0)).labels_bzyx[0]
        extents = (labels.nonzero().amax(0) - labels.nonzero().amin(0) + 1) * torch.tensor(
            [4, 1, 1]
        )
        assert (extents - 30).abs().max() <= 4, "half a thick slice on both sides"


def test_no_augmentation_is_the_middle_of_the_window() -> None:
    names = [f.name for f in msgspec.structs.fields(Augment) if f.name.endswith("_p")]
    none = Augment(**dict.fromkeys(names, 0.0), mirror_left=False, shift_voxels=0)  # type: ignore[arg-type]
    batch = _batch()
    result = view(batch, (14, 14, 14), none, Random.seeded(CPU, 3))
    torch.testing.assert_close(result.image_bczyx, batch.image_bczyx[..., 3:17, 3:17, 3:17])
    assert torch.equal(result.labels_bzyx, batch.labels_bzyx[:, 3:17, 3:17, 3:17])
