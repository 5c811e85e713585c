"""Cases that show none of the structures: trained on, and reported as false positives per case."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from kd.commands import main
from kd.data.batches import Batches
from kd.data.cases import prepare, read_pair
from kd.evaluation.negatives import detected, summary
from kd.networks.unet import UNet
from kd.recipe.read import Recipe, read_recipe
from kd.training.losses import supervised
from node.imaging import Grid, Labels
from node.imaging.nifti import read_labels, write
from tests.support.kd_phantoms import RECIPE, data_set

GRID = Grid((6, 6, 6), np.array([[0, 0, 2.0, 0], [0, 2.0, 0, 0], [2.0, 0, 0, 0], [0, 0, 0, 1]]))


def test_regions_are_counted_by_structure_and_their_volumes_added() -> None:
    labels = np.zeros(GRID.shape, np.uint8)
    assert detected(labels, GRID) == (0, 0.0)
    labels[0, 0, 0] = labels[1, 1, 1] = 1  # they touch at a corner
    labels[5, 5, 5] = labels[5, 5, 3] = 2  # two regions
    regions, ml = detected(labels, GRID)
    assert regions == 3
    assert ml == pytest.approx(4 * 0.008)
    regions, ml = detected(labels, GRID, unknown=[2])
    assert regions == 1
    assert ml == pytest.approx(2 * 0.008)


def test_the_summary_is_per_case() -> None:
    counted = summary([(0, 0.0), (3, 0.6)])
    assert (counted.cases, counted.with_false_positives) == (2, 1)
    assert (counted.regions, counted.ml) == (1.5, 0.3)
    assert "in 1 of 2 negative cases, 1.5 regions and 0.3 ml per case" in counted.sentence


def _with_negatives(root: Path, *names: str) -> tuple[Recipe, Path]:
    """Write phantoms of which some are labelled nowhere, and a recipe that allows it."""
    data = data_set(root / "balls", 4, 2)
    for name in names:
        path = data / "labels" / f"{name}.nii.gz"
        labels = read_labels(path)
        write(Labels(np.zeros_like(labels.array), labels.grid), path)
    chosen = dict(RECIPE)
    chosen["data"] = dict(chosen["data"]) | {"negatives": True}  # type: ignore[call-overload]
    path = root / "recipe.yaml"
    path.write_text(yaml.safe_dump(chosen), encoding="utf-8")
    return read_recipe(path), data


def test_a_batch_of_negatives_has_a_finite_loss(tmp_path: Path) -> None:
    recipe, data = _with_negatives(tmp_path, "ball_0", "ball_1")
    cases = [prepare(recipe, read_pair(recipe, data, name)) for name in ("ball_0", "ball_1")]
    cpu = torch.device("cpu")
    batch = Batches(cases, recipe.grid.patch_zyx, recipe.training, cpu).at(0, recipe.augment)
    assert not batch.labels_bzyx.any()
    network = UNet(recipe.topology("small"), recipe.n_classes)
    loss = supervised(0.5)(network.deep(batch.image_bczyx, batch.at_zyx), batch, 0.0)
    loss.backward()  # type: ignore[no-untyped-call]
    weights = [w.grad for w in network.parameters() if w.grad is not None]
    assert torch.isfinite(loss)
    assert weights
    assert all(bool(torch.isfinite(gradient).all()) for gradient in weights)


@pytest.mark.slow
def test_a_fold_with_a_negative_is_scored_without_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _with_negatives(tmp_path, "ball_0", "ball_1", "ball_2")
    common = [str(tmp_path / "recipe.yaml"), "--data", str(tmp_path / "balls"), "--size", "small"]
    run = ["--run", str(tmp_path / "run"), "--device", "cpu"]
    for fold in ("0", "1"):
        shutil.rmtree(tmp_path / "run", ignore_errors=True)
        assert main(["train", *common, *run, "--without-fold", fold, "--steps", "4"]) == 0
        capsys.readouterr()
        status = main(["score", *common, *run, "--fold", fold, "--json"])
        written = capsys.readouterr()
        if status == 1:  # the fold of two negatives
            assert "has a labelled voxel: there is nothing to score" in written.err
            continue
        printed = json.loads(written.out)
        assert printed["cases"] == 1
        assert printed["negatives"]["cases"] == 1
