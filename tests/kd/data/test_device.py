"""Random numbers of batches: on a CPU the same in every version, on a GPU of two generators."""

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
import torch

from kd.data.augment import Batch
from kd.data.batches import Batches, SyntheticBatches
from kd.data.cases import read_anatomy, read_cases
from kd.data.device import CPU, Random
from kd.data.labelmaps import LabelMap
from kd.data.synthesis import synthesise
from kd.recipe.choices import Augment, Contrast, Generator
from kd.training.losses import supervised
from kd.training.runs import new_network
from kd.training.tasks import TrainingTask, new_run
from kd.training.trainer import Trainer
from tests.kd.data.test_synthesis import ANATOMY, LEFT, RIGHT, head, synthetic_recipe
from tests.support.kd_phantoms import data_set, recipe

PATCH = (16, 16, 16)
GENERATOR = Generator(
    anatomy=msgspec.structs.replace(ANATOMY, alike=((LEFT, RIGHT),)),
    contrasts=(Contrast(name="T1", share=0.5, means=(0.2,)),),
    air_p=0.5, strip_p=0.5, crop_p=0.5,
)  # fmt: skip
# of each step: three voxels in each image of the batch, and the voxels of each label in the batch.
# They are those of brain-mr 1.3: a number that is drawn at another place changes all of them
SYNTHETIC: list[tuple[list[float], list[int]]] = [
    ([3.2718, 3.1934, 2.3469, 0.3141, 0.29, 0.2412], [6809, 1134, 249]),
    ([2.0026, 2.9687, 1.6962, -2.5912, -2.5646, -2.3249], [7244, 442, 506]),
    ([0.5446, -0.0199, 0.9049, -2.4617, -3.1046, -1.588], [7384, 436, 372]),
    ([0.7644, 0.2786, 1.5506, -0.364, 0.3556, -0.6343], [7432, 623, 137]),
    ([1.8443, 2.1741, 0.0, 0.4981, 0.3856, 1.8646], [7135, 858, 199]),
    ([4.1352, 4.2078, 2.6886, 3.2241, 3.0199, 2.4119], [7105, 548, 539]),
]
AUGMENTED: list[tuple[list[float], list[int]]] = [
    ([0.221, -0.3051, -0.2175, -0.1871, -3.9425, -0.0714], [7580, 19, 593]),
    ([-0.1484, -3.2677, -0.7716, -0.0394, -0.6713, -0.244], [7330, 514, 348]),
    ([0.0588, 0.0962, 0.1592, 2.4994, 4.2651, 0.1508], [7124, 677, 391]),
    ([-0.3462, -3.7855, 0.0429, -0.0567, 0.0729, 0.371], [7444, 259, 489]),
]


def summary(batch: Batch) -> tuple[list[float], list[int]]:
    """Return the values of three voxels of each image, and the voxels of each label."""
    values = batch.image_bczyx[:, 0, 4:13:4, 8, 8].flatten().tolist()
    return values, torch.bincount(batch.labels_bzyx.flatten(), minlength=3).tolist()


def assert_like(batch: Batch, expected: tuple[list[float], list[int]]) -> None:
    """Compare a batch with its summary: processors differ in the last digits."""
    values, counts = summary(batch)
    assert values == pytest.approx(expected[0], abs=1e-3)
    assert counts == pytest.approx(expected[1], abs=2)


def test_synthetic_images_of_a_seed_never_change(tmp_path: Path) -> None:
    for number in range(2):
        head(tmp_path, f"head_{number}")
    chosen = synthetic_recipe(GENERATOR)
    maps = [read_anatomy(chosen, tmp_path, f"head_{number}") for number in range(2)]
    source = SyntheticBatches(maps, PATCH, chosen.training, GENERATOR, CPU)
    for step, expected in enumerate(SYNTHETIC):
        assert_like(source.at(step, None), expected)


def test_augmented_images_of_a_seed_never_change(tmp_path: Path) -> None:
    chosen = recipe()
    cases = read_cases(chosen, data_set(tmp_path / "balls", 2, 1), ["ball_0", "ball_1"])
    edges = (3.0, 1.0, 1.0)
    source = Batches(cases, PATCH, chosen.training, CPU, spacing_mm_zyx=edges)
    for step, expected in enumerate(AUGMENTED):
        assert_like(source.at(step, Augment()), expected)


def of_two(arrays: int, decisions: int) -> Random:
    """Return the generators of a batch as a GPU has them, here both on the CPU."""
    return Random(*(torch.Generator().manual_seed(seed) for seed in (arrays, decisions)))


@pytest.fixture(scope="module")
def anatomy(tmp_path_factory: pytest.TempPathFactory) -> LabelMap:
    folder = tmp_path_factory.mktemp("device")
    head(folder)
    return read_anatomy(synthetic_recipe(GENERATOR), folder, "head_0")


def test_decisions_do_not_depend_on_the_arrays(anatomy: LabelMap) -> None:
    """Without elastic deformation the host alone decides the labels; noise is an array."""
    still = msgspec.structs.replace(GENERATOR, elastic_voxels=0)
    first, again, other, moved = (
        synthesise(anatomy, PATCH, still, of_two(*seeds))
        for seeds in ((1, 1), (1, 1), (2, 1), (1, 2))
    )
    assert torch.equal(first.image_bczyx, again.image_bczyx)
    assert torch.equal(first.labels_bzyx, other.labels_bzyx)
    assert not torch.equal(first.image_bczyx, other.image_bczyx)
    assert not torch.equal(first.labels_bzyx, moved.labels_bzyx)


@pytest.mark.slow
def test_two_generators_give_the_loss_curve_of_one_within_noise(anatomy: LabelMap) -> None:
    chosen = synthetic_recipe(GENERATOR, steps=120)

    def curve(random_of: Callable[[int], Random]) -> list[float]:
        record = new_run(chosen, TrainingTask("small", ("head_0",)), None)
        trainer = Trainer(new_network(chosen, "small"), record, CPU)
        for step in range(120):
            batch = synthesise(anatomy, PATCH, GENERATOR, random_of(step))
            trainer.train_step(batch, supervised())
        trainer.read_losses()
        return trainer.losses

    one, other = curve(lambda s: Random.seeded(CPU, s)), curve(lambda s: of_two(s, s + 999))
    assert one != other
    begun, ended = (
        [sum(losses[part]) / 30 for losses in (one, other)] for part in (slice(30), slice(90, 120))
    )
    assert ended[0] < 0.8 * begun[0]
    assert ended[1] == pytest.approx(ended[0], rel=0.15)
