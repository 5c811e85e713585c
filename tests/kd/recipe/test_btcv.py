"""The recipe for BTCV on a made-up set of its layout: read, prepared, one step trained."""

from pathlib import Path

import msgspec
import numpy as np
import pytest

import kd
from kd.data.cases import read_pair
from kd.data.splits import names_of
from kd.networks.unet import macs_of
from kd.recipe.read import Recipe, read_recipe
from kd.training.runs import new_network
from kd.training.steps import train
from kd.training.tasks import TrainingTask
from kd.training.trainer import Slice
from node.imaging import Grid, Labels, Volume
from node.imaging.nifti import write
from tests.support.kd_training import silent

PATH = Path(kd.__file__).parent / "recipes" / "abdomen-ct-btcv.yaml"
SHAPE, SPACING_MM = (20, 40, 40), (5.0, 1.5, 1.5)  # head, back, left


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    return read_recipe(PATH)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two cases named as in RawData/Training, each organ a block of its own intensity."""
    root = tmp_path_factory.mktemp("btcv")
    affine = np.zeros((4, 4))
    affine[2, 0], affine[1, 1], affine[0, 2], affine[3, 3] = *SPACING_MM, 1
    grid = Grid(SHAPE, affine)
    rng = np.random.default_rng(0)
    for name in ("0001", "0031"):
        labels = np.zeros(SHAPE, np.uint8)
        for number in range(1, 14):
            z, y = divmod(number - 1, 4)
            labels[2 + 4 * z : 5 + 4 * z, 2 + 9 * y : 9 + 9 * y, 10:30] = number
        image = rng.normal(-50, 20, SHAPE) + 15.0 * labels
        for kind, volume in (
            ("img", Volume(image.astype(np.float32), grid)),
            ("label", Labels(labels, grid)),
        ):
            (root / kind).mkdir(exist_ok=True)
            write(volume, root / kind / f"{kind}{name}.nii.gz")
    return root


def test_thirty_cases_are_listed_and_ten_are_held_out(recipe: Recipe, data: Path) -> None:
    train, test = (names_of(recipe, data, split) for split in ("train", "val"))
    assert (len(train), len(test)) == (20, 10), "a gate on non-inferiority takes ten subjects"
    assert {*train, *test} == {f"{n:04d}" for n in (*range(1, 11), *range(21, 41))}


def test_every_organ_has_a_code_and_pairs_differ_by_side(recipe: Recipe) -> None:
    assert [part.number for part in recipe.segments] == list(range(1, 14))
    coded = {
        (part.type.value, None if part.modifier is None else part.modifier.meaning)
        for part in recipe.segments
    }
    assert len(coded) == 13
    sides = {p.label: p.modifier.meaning for p in recipe.segments if p.modifier is not None}
    assert len(sides) == 4
    assert all(label.startswith(side) for label, side in sides.items())
    assert len({part.colour_rgb for part in recipe.segments}) == 13


def test_files_of_the_layout_are_read(recipe: Recipe, data: Path) -> None:
    pair = read_pair(recipe, data, "0031")
    assert set(np.unique(pair.labels.array)) == set(range(14))


@pytest.mark.slow
def test_a_step_of_training_runs_on_the_layout(recipe: Recipe, data: Path, tmp_path: Path) -> None:
    training = msgspec.structs.replace(recipe.training, patch_zyx=(16, 32, 32), steps=1)
    chosen = msgspec.structs.replace(recipe, training=training)
    outcome = train(
        chosen, data, TrainingTask("tiny", ("0001",)), tmp_path, limits=Slice("cpu"), report=silent
    )
    assert outcome.finished
    assert np.isfinite(outcome.losses[0])


def test_smaller_sizes_compute_less(recipe: Recipe) -> None:
    macs = [macs_of(new_network(recipe, s), recipe.grid.patch_zyx) for s in recipe.sizes_in_order]
    assert macs == sorted(macs, reverse=True)
