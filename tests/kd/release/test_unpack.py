"""A released package as runs again: same answers, same record, and fit for more training."""

from pathlib import Path

import numpy as np
import pytest
import torch

from kd.commands import main
from kd.errors import BadCheckpoint
from kd.networks.package_weights import load_folded, released_weights
from kd.networks.unet import UNet
from kd.recipe.choices import uniform
from kd.release.pages import packaged_recipe
from kd.release.unpack import recalibrate, unpack
from kd.training.runs import fold_run, open_run
from node.package import load
from node.pipeline import open_student

BRAIN = Path(__file__).parents[3] / "models" / "brain-mr"
BATCHES = [
    torch.randn(2, 1, 16, 16, 16, generator=torch.Generator().manual_seed(n)) for n in (1, 2)
]


@pytest.fixture(scope="module")
def folder() -> Path:
    return max(BRAIN.iterdir())


@pytest.mark.slow
def test_an_unpacked_network_answers_what_the_released_one_answers(
    folder: Path, tmp_path: Path
) -> None:
    package = load(folder)
    recipe = packaged_recipe(package.manifest)
    unpack(package, tmp_path)
    patch = np.zeros(package.manifest.grid.patch_zyx, np.float32)
    patch[20:90, 30:100, 20:90] = np.random.default_rng(1).standard_normal((70, 70, 70))
    for size, run in (("tiny", tmp_path / "tiny"), ("teacher", fold_run(tmp_path, 0))):
        network, record = open_run(recipe, size, run, torch.device("cpu"))
        assert isinstance(network, UNet)
        if recipe.mirror:
            network.average_mirror_images(recipe.mirrored_classes)
        with torch.no_grad():
            answer = network(torch.from_numpy(patch)[None, None])[0].numpy()
        assert np.abs(answer - open_student(package, size, 1)(patch)).max() < 0.01
        assert record.is_finished
        assert record.cases_used == set(recipe.data.cases["train"])


def test_a_package_is_not_unpacked_over_runs(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "teacher_0").mkdir()
    (tmp_path / "teacher_0" / "checkpoint.pt").write_bytes(b"a run")
    assert main(["unpack", str(folder), "--runs", str(tmp_path)]) != 0
    with pytest.raises(BadCheckpoint, match="teacher_0"):
        unpack(load(folder), tmp_path)
    assert (tmp_path / "teacher_0" / "checkpoint.pt").read_bytes() == b"a run"


def identity_norms() -> UNet:
    """Return a network whose norms are the identity, as those of a released one."""
    torch.manual_seed(3)
    network = UNet(uniform(4, ((1, 1, 1), (2, 2, 2)), norm="batch"), 3)
    load_folded(network, {}, Path("package/small.onnx"))
    return network


def test_recalibrated_norms_leave_the_answer_as_it_was() -> None:
    network = identity_norms().eval()
    with torch.no_grad():
        before = network(BATCHES[0])
        recalibrate(network, BATCHES)
        torch.testing.assert_close(network(BATCHES[0]), before, atol=1e-4, rtol=1e-4)


def test_recalibrated_norms_bear_training() -> None:
    plain, ready = identity_norms(), identity_norms()
    recalibrate(ready, BATCHES)
    with torch.no_grad():
        answer = plain.eval()(BATCHES[0])
        # training normalises by the batch: without statistics that is another network
        off = (plain.train()(BATCHES[0]) - answer).abs().mean()
        near = (ready.train()(BATCHES[0]) - answer).abs().mean()
    assert near < off / 5


def test_weights_of_another_network_are_refused(folder: Path) -> None:
    path = folder / "tiny.onnx"
    with pytest.raises(BadCheckpoint, match=r"tiny\.onnx"):
        load_folded(identity_norms(), released_weights(path), path)
    with pytest.raises(BadCheckpoint, match=r"manifest\.json"):
        released_weights(folder / "manifest.json")
