"""Cases without reference for a structure: it is neither trained as absent nor scored."""

import math
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch

from kd.data.batches import Batches
from kd.data.cases import Pair, prepare, read_cases, read_pair
from kd.evaluation.measure import Agreement
from kd.evaluation.scores import Score
from kd.recipe.choices import Augment
from kd.recipe.read import Recipe
from kd.training.losses import deep_supervision, merged
from kd.training.runs import new_network
from kd.training.steps import train
from kd.training.tasks import TrainingTask
from kd.training.trainer import Slice, averaged_network
from node.imaging import Labels
from node.imaging.nifti import read_labels, write
from tests.support.kd_phantoms import data_set, recipe
from tests.support.kd_training import silent

CPU = torch.device("cpu")
DARK = 2


def partly(chosen: Recipe, *numbers: int) -> Recipe:
    """Return the recipe with segments that are not labelled in every case."""
    return msgspec.structs.replace(
        chosen, data=msgspec.structs.replace(chosen.data, partial=numbers)
    )


def erase(folder: Path, name: str, number: int) -> Labels:
    """Take one structure out of a case's labels; return the labels as they were."""
    path = folder / "labels" / f"{name}.nii.gz"
    whole = read_labels(path)
    write(Labels(np.where(whole.array == number, 0, whole.array), whole.grid), path)
    return whole


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four cases; the dark ball is in all of them, but labelled in the first alone."""
    root = data_set(tmp_path_factory.mktemp("partial") / "balls", 4, 1)
    for name in ("ball_1", "ball_2", "ball_3"):
        write(erase(root, name, DARK), root / f"whole_{name}.nii.gz")
    return root


def test_unlabelled_classes_are_merged_into_the_background() -> None:
    logits = torch.tensor([0.0, 1.0, 2.0])[None, :, None, None, None]
    probabilities = merged(logits, torch.tensor([[False, False, True]])).softmax(1)[0, :, 0, 0, 0]
    total = 1 + math.e + math.e**2
    expected = [(1 + math.e**2) / total, math.e / total, 0.0]
    assert probabilities.tolist() == pytest.approx(expected, rel=1e-6)
    same = merged(logits, torch.tensor([[False, False, False]]))
    assert torch.equal(same.softmax(1), logits.softmax(1))


@pytest.mark.parametrize("unknown", [[False, False, True], [False, True]])
def test_one_case_does_not_hide_a_class_of_another(unknown: list[bool]) -> None:
    logits = torch.randn(2, 3, 2, 2, 2)
    table = torch.zeros(2, len(unknown), dtype=torch.bool)
    table[1] = torch.tensor(unknown)
    probabilities = merged(logits, table).softmax(1)
    assert torch.allclose(probabilities[0], logits[0].softmax(0))
    assert probabilities[1, unknown.index(True)].max() == 0
    assert torch.allclose(probabilities.sum(1), torch.ones(2, 2, 2, 2))


def test_detecting_an_unlabelled_structure_costs_nothing() -> None:
    labels = torch.zeros(1, 4, 4, 4, dtype=torch.uint8)
    labels[:, :, :2] = 1
    truth = torch.nn.functional.one_hot(labels.long(), 3).movedim(-1, 1).float()
    says_background = 12 * truth
    says_dark = says_background.clone()
    says_dark[:, 0, :, 3], says_dark[:, 2, :, 3] = 0, 12  # where the reference has nothing
    hidden = torch.tensor([[False, False, True]])
    masked = [float(deep_supervision([x], labels, hidden)) for x in (says_background, says_dark)]
    assert masked[1] == pytest.approx(masked[0], abs=1e-4)
    plain = [float(deep_supervision([x], labels)) for x in (says_background, says_dark)]
    assert plain[1] > plain[0] + 1


def _dark_probability(chosen: Recipe, folder: Path, run: Path) -> float:
    """Train on all cases; return the mean probability of an unlabelled dark ball."""
    task = TrainingTask("teacher", ("ball_0", "ball_1", "ball_2", "ball_3"))
    train(chosen, folder, task, run, limits=Slice("cpu"), report=silent)
    network, _ = averaged_network(new_network(chosen, "teacher"), run, CPU)
    pair = read_pair(chosen, folder, "ball_1")
    whole = Pair("ball_1", pair.image, read_labels(folder / "whole_ball_1.nii.gz"))
    batch = Batches([prepare(chosen, whole)], (16, 16, 16), chosen.training, CPU).at(0, None)
    with torch.no_grad():
        probabilities = network(batch.image_bczyx).softmax(1)
    return float(probabilities[:, DARK][batch.labels_bzyx == DARK].mean())


@pytest.mark.slow
def test_a_structure_is_learned_from_the_cases_that_show_it(folder: Path, tmp_path: Path) -> None:
    """The same training without the mask learns that the dark ball is not there."""
    chosen = msgspec.structs.replace(recipe(steps=100), augment=Augment())
    with_mask = _dark_probability(partly(chosen, DARK), folder, tmp_path / "masked")
    without = _dark_probability(chosen, folder, tmp_path / "plain")
    assert with_mask > 0.7
    assert without < with_mask - 0.2


def test_a_case_lists_its_unlabelled_structures(folder: Path) -> None:
    chosen = partly(recipe(), DARK)
    first, second = read_cases(chosen, folder, ["ball_0", "ball_1"])
    assert (first.unknown, second.unknown) == ((), (DARK,))
    batches = Batches([first, second], (16, 16, 16), chosen.training, CPU)
    for step in range(2):
        for augment in (None, chosen.augment):
            batch = batches.at(step, augment)
            assert batch.unknown_bk is not None
            assert batch.unknown_bk[:, DARK].sum() == 1  # both cases are in each batch
            for labels, unknown in zip(batch.labels_bzyx, batch.unknown_bk, strict=True):
                assert not (unknown[DARK] and (labels == DARK).any())
    assert Batches([first], (16, 16, 16), chosen.training, CPU).at(0, None).unknown_bk is None


def test_unlabelled_structures_are_in_no_mean() -> None:
    good, bad = Agreement(0.9, 0.9, 1.0, 1.0, 1.0), Agreement(0.1, 0.1, 9.0, 1.0, 1.0)
    score = Score("a", (good, None), 1.0)
    assert score.mean("dice") == pytest.approx(0.9)
    assert Score("b", (good, bad), 1.0).mean("dice") == pytest.approx(0.5)
