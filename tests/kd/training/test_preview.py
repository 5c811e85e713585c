"""Pictures of a batch, of the teacher and of predictions: the right colour at the right place."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from kd.data.augment import Batch, thinned
from kd.training.preview import BATCH, GAP, HEIGHT, PREDICTIONS, write_batch, write_predictions
from kd.training.runs import new_network
from kd.training.steps import Runs, train_fold
from kd.training.trainer import Slice
from tests.support.kd_phantoms import data_set, recipe
from tests.support.kd_training import silent

RED, BLUE = (255, 0, 0), (0, 0, 255)
COLOURS = {1: RED, 2: BLUE}
EDGE = 8  # voxels


def _batch(*, certain: bool) -> Batch:
    """Return one patch: class 1 in the upper half of plane 3; the teacher sees class 2 there."""
    labels = torch.zeros(1, EDGE, EDGE, EDGE, dtype=torch.uint8)
    labels[0, 3, :4] = 1
    probability = torch.zeros(1, 3, EDGE, EDGE, EDGE)
    probability[0, 0] = 1
    share = 1.0 if certain else 0.25
    probability[0, 0, 3, :4], probability[0, 2, 3, :4] = 1 - share, share
    soft = probability.clamp_min(1e-6).log()
    return Batch(torch.zeros(1, 1, EDGE, EDGE, EDGE), labels, soft)


def _columns(path: Path) -> list[np.ndarray]:
    """Return the tiles of the first row of a picture of square patches."""
    with Image.open(path) as picture:
        pixels = np.asarray(picture).astype(int)
    count = (pixels.shape[1] + GAP) // (HEIGHT + GAP)
    return [pixels[:HEIGHT, i * (HEIGHT + GAP) : i * (HEIGHT + GAP) + HEIGHT] for i in range(count)]


def _amount(tile: np.ndarray, colour: int) -> tuple[float, float]:
    """Return the mean of one colour in the upper and in the lower half of a tile."""
    half = HEIGHT // 2
    return float(tile[:half, :, colour].mean()), float(tile[half:, :, colour].mean())


def test_labels_and_teacher_have_their_colours_where_they_are(tmp_path: Path) -> None:
    write_batch(_batch(certain=True), COLOURS, tmp_path)
    image, labels, teacher = _columns(tmp_path / BATCH)
    assert not image.any(), "a constant image is black"
    assert _amount(labels, 0) == pytest.approx((140, 0), abs=2)
    assert _amount(labels, 2) == (0, 0)
    assert _amount(teacher, 2) == pytest.approx((140, 0), abs=2)


def test_an_uncertain_teacher_is_paler(tmp_path: Path) -> None:
    write_batch(_batch(certain=False), COLOURS, tmp_path)
    upper, _ = _amount(_columns(tmp_path / BATCH)[2], 2)
    assert upper == pytest.approx(35, abs=2)


def test_thinned_labels_fill_their_blocks(tmp_path: Path) -> None:
    write_batch(thinned(_batch(certain=True), (1, 0, 0)), COLOURS, tmp_path)
    _, labels, _ = _columns(tmp_path / BATCH)
    assert _amount(labels, 0) == pytest.approx((140, 0), abs=2)


def test_a_batch_without_a_teacher_has_two_columns(tmp_path: Path) -> None:
    batch = _batch(certain=True)
    write_batch(Batch(batch.image_bczyx, batch.labels_bzyx), COLOURS, tmp_path)
    assert len(_columns(tmp_path / BATCH)) == 2


class _Fixed:
    """The same patch at every step."""

    def at(self, _step: int, _augment: object) -> Batch:
        batch = _batch(certain=True)
        return Batch(batch.image_bczyx.repeat(1, 1, 2, 2, 2), batch.labels_bzyx.repeat(1, 2, 2, 2))


def test_predictions_stand_beside_the_reference(tmp_path: Path) -> None:
    network = new_network(recipe(), "small")
    with torch.no_grad():
        for weight in network.parameters():
            weight.zero_()
        for layer in network.modules():
            if isinstance(layer, torch.nn.Conv3d) and layer.out_channels == 3:
                assert layer.bias is not None
                layer.bias[2] = 1  # class 2 everywhere
    write_predictions(network, _Fixed(), torch.device("cpu"), COLOURS, tmp_path)
    image, labels, detected = _columns(tmp_path / PREDICTIONS)
    assert image.shape == labels.shape
    assert _amount(labels, 2) == (0, 0)
    assert _amount(detected, 2) == pytest.approx((140, 140), abs=2)


@pytest.mark.slow
def test_a_training_keeps_its_pictures(tmp_path: Path) -> None:
    data = data_set(tmp_path / "balls", 4, 1)
    train_fold(
        recipe(steps=2), data, Runs(tmp_path / "runs"), 0, limits=Slice("cpu"), report=silent
    )
    for name in (BATCH, PREDICTIONS):
        with Image.open(tmp_path / "runs" / "teacher_0" / name) as picture:
            assert picture.height > HEIGHT
