"""Thinned batches, one voxel of eight at each step, and prefetched batches."""

from pathlib import Path

import msgspec
import pytest
import torch
from torch import Tensor

from kd.data.augment import Batch, thinned
from kd.data.batches import (
    Batches,
    DistillationBatches,
    SyntheticBatches,
    thin_offset,
)
from kd.data.cases import read_anatomy, read_cases
from kd.data.prefetch import PrefetchedBatches
from kd.data.soft_targets import LEAST_PROBABILITY
from kd.networks.unet import UNet
from kd.recipe.choices import Augment, uniform
from kd.training.steps import train, training_cases
from kd.training.tasks import TrainingTask
from kd.training.trainer import Slice
from tests.kd.data.test_synthesis import changed, head, synthetic_recipe
from tests.support.kd_phantoms import data_set, recipe
from tests.support.kd_training import silent

CPU = torch.device("cpu")
EIGHT = [(z, y, x) for z in (0, 1) for y in (0, 1) for x in (0, 1)]


def some_network(stem_stride: int, fine_width: int) -> UNet:
    torch.manual_seed(3)
    topology = uniform(4, ((1, 1, 1), (2, 2, 2)), stem_stride=stem_stride)  # type: ignore[arg-type]
    network = UNet(msgspec.structs.replace(topology, fine_width=fine_width), 3).eval()
    if network.fine is not None:
        torch.nn.init.normal_(network.fine.head.weight)  # as after training
    return network


@pytest.mark.parametrize(("stem_stride", "fine_width"), [(1, 0), (2, 0), (2, 3)])
@pytest.mark.parametrize("at", EIGHT)
def test_thin_scores_are_those_of_the_whole_at_their_places(
    stem_stride: int, fine_width: int, at: tuple[int, int, int]
) -> None:
    network = some_network(stem_stride, fine_width)
    image = torch.randn(2, 1, 8, 12, 16, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        whole, thin = network.deep(image), network.deep(image, at)
        assert torch.equal(network.finest(image), whole[0])
    z, y, x = at
    torch.testing.assert_close(thin[0], whole[0][:, :, z::2, y::2, x::2])
    assert [tuple(t.shape) for t in thin[1:]] == [tuple(w.shape) for w in whole[1:]]
    assert all(torch.equal(t, w) for t, w in zip(thin[1:], whole[1:], strict=True))


def test_labels_and_teacher_are_thinned_alike_and_the_image_is_not() -> None:
    labels = torch.arange(64, dtype=torch.uint8).reshape(1, 4, 4, 4)
    soft = torch.stack([labels.float(), -labels.float()], 1)
    thin = thinned(Batch(torch.zeros(1, 1, 4, 4, 4), labels, soft), (1, 0, 1))
    assert thin.image_bczyx.shape == (1, 1, 4, 4, 4)
    assert thin.labels_bzyx.tolist() == [[[[17, 19], [25, 27]], [[49, 51], [57, 59]]]]
    assert thin.soft_bkzyx is not None
    assert torch.equal(thin.soft_bkzyx[0, 0], thin.labels_bzyx[0].float())


def test_all_eight_offsets_are_used_before_any_repeats() -> None:
    for begin in (0, 8, 16):
        assert sorted(thin_offset(1, step) for step in range(begin, begin + 8)) == EIGHT
    assert [thin_offset(1, s) for s in range(16)] != [thin_offset(2, s) for s in range(16)]


@pytest.fixture(scope="module")
def balls(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return data_set(tmp_path_factory.mktemp("thin") / "balls", 2, 1)


def test_read_batches_are_thinned_after_their_augmentation(balls: Path) -> None:
    sources = []
    for is_thin in (False, True):
        chosen = recipe(is_thin=is_thin)
        cases = read_cases(chosen, balls, training_cases(chosen, balls, None))
        sources.append(Batches(cases, (16, 16, 16), chosen.training, CPU))
    for augment in (None, Augment()):
        whole, thin = (source.at(5, augment) for source in sources)
        assert torch.equal(whole.image_bczyx, thin.image_bczyx)
        z, y, x = thin.at_zyx or (9, 9, 9)
        assert torch.equal(whole.labels_bzyx[:, z::2, y::2, x::2], thin.labels_bzyx)


def test_a_teacher_is_evaluated_at_the_thinned_voxels_alone(tmp_path: Path) -> None:
    head(tmp_path)
    chosen = synthetic_recipe(is_thin=True)
    anatomy = read_anatomy(chosen, tmp_path, "head_0")
    synthetic = SyntheticBatches([anatomy], (16, 16, 16), chosen.training, changed(), CPU)
    network = some_network(2, 0)

    class Other(torch.nn.Module):
        """A teacher that is not a UNet: it returns all logits."""

        def forward(self, image: Tensor) -> Tensor:
            return network(image)

    ours, theirs = (
        DistillationBatches(synthetic, [t], CPU).at(3, None).soft_bkzyx for t in (network, Other())
    )
    assert ours is not None
    assert theirs is not None
    assert ours.shape == (2, 3, 8, 8, 8)
    torch.testing.assert_close(ours, theirs)
    assert float(ours.exp().amin()) >= 0.99 * LEAST_PROBABILITY


@pytest.mark.slow
def test_a_thin_training_learns_and_resumes(balls: Path, tmp_path: Path) -> None:
    chosen = recipe(steps=100, is_thin=True)
    net = msgspec.structs.replace(chosen.sizes["small"], stem_stride=2)
    strides = ((1, 1, 1), (2, 2, 2), (2, 2, 2))
    sizes = chosen.sizes | {"small": net}
    chosen = msgspec.structs.replace(chosen, sizes=sizes, strides_zyx=strides)
    task = TrainingTask("small", training_cases(chosen, balls, None))

    def losses_of(run: str, stop: int | None = None) -> tuple[float, ...]:
        limits = Slice("cpu", stop_after_steps=stop)
        return train(chosen, balls, task, tmp_path / run, limits=limits, report=silent).losses

    losses = losses_of("whole")
    assert losses_of("parts", 25) + losses_of("parts") == losses
    assert sum(losses[-10:]) < 0.8 * sum(losses[:10])


class Counting:
    """A source that records the requested steps and fails at one of them."""

    def __init__(self, fails_at: int = -1) -> None:
        self.requested: list[int] = []
        self.fails_at = fails_at

    def at(self, step: int, _augment: Augment | None) -> Batch:
        self.requested.append(step)
        if step == self.fails_at:
            message = "no such batch"
            raise LookupError(message)
        return Batch(torch.full((1, 1, 2, 2, 2), float(step)), torch.zeros(1, 2, 2, 2))


def test_prefetched_batches_are_those_of_their_steps() -> None:
    source = Counting()
    ahead = PrefetchedBatches(source, CPU)
    for step in (0, 1, 2, 3):
        assert float(ahead.at(step, None).image_bczyx[0, 0, 0, 0, 0]) == step
    for step in (7, 3):  # as when a training is resumed
        assert float(ahead.at(step, None).image_bczyx[0, 0, 0, 0, 0]) == step
    ahead.close()
    assert source.requested[:4] == [0, 1, 2, 3], "each once"
    # the one ahead of a jump, and the one ahead of the end, may or may not have been begun
    assert {0, 1, 2, 3, 7} <= set(source.requested) <= {0, 1, 2, 3, 4, 7, 8}


def test_an_error_in_a_prefetched_batch_is_raised_at_its_step() -> None:
    ahead = PrefetchedBatches(Counting(fails_at=1), CPU)
    ahead.at(0, None)
    with pytest.raises(LookupError, match="no such batch"):
        ahead.at(1, None)
    ahead.close()
