"""A refiner: what it answers before training, what training may change, and its export."""

from pathlib import Path

import msgspec
import pytest
import torch

from kd.errors import BadCheckpoint
from kd.networks.export import export
from kd.networks.package_weights import load_coarse, load_folded, released_weights
from kd.networks.refiner import LEAST_LOG_P, Refiner
from kd.networks.unet import UNet, Window
from kd.recipe.choices import Topology, uniform

STRIDES = ((1, 1, 1), (2, 2, 2))
COARSE = uniform(4, STRIDES, norm="batch", stem_stride=2)
N_CLASSES = 3


def topology(base: int = 4) -> Topology:
    fine = uniform(base, STRIDES, norm="batch", stem_stride=2)
    return msgspec.structs.replace(fine, coarse=COARSE)


@pytest.fixture
def refiner() -> Refiner:
    torch.manual_seed(1)
    return Refiner(topology(), N_CLASSES).eval()


def test_an_untrained_refiner_repeats_the_coarse_answer(refiner: Refiner) -> None:
    image = torch.randn(1, 1, 16, 16, 24)
    with torch.no_grad():
        answer = refiner(image)
        coarse = refiner.coarse(torch.nn.functional.avg_pool3d(image, 2))
    expected = coarse.log_softmax(1).clamp_min(LEAST_LOG_P)
    repeated = expected.repeat_interleave(2, 2).repeat_interleave(2, 3).repeat_interleave(2, 4)
    torch.testing.assert_close(answer, repeated)


def test_training_leaves_the_coarse_network_as_it_was(refiner: Refiner) -> None:
    before = {name: value.clone() for name, value in refiner.coarse.state_dict().items()}
    refiner.train()
    optimiser = torch.optim.SGD([w for w in refiner.parameters() if w.requires_grad], 0.1)
    refiner(torch.randn(2, 1, 16, 16, 16)).square().mean().backward()
    optimiser.step()
    after = refiner.coarse.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert not torch.equal(
        refiner.heads[-1].weight, Refiner(topology(), N_CLASSES).heads[-1].weight
    )


def test_a_window_has_the_coarse_answer_of_the_whole_patch(refiner: Refiner) -> None:
    image = torch.randn(1, 1, 32, 32, 32)
    window = Window((8, 0, 16), (16, 32, 16))
    with torch.no_grad():
        # untrained, the answer is the coarse one, which depends on the context
        torch.testing.assert_close(refiner.finest(image, window=window), window.of(refiner(image)))
        thin = refiner.finest(image, (1, 0, 1), window)
    torch.testing.assert_close(thin, window.of(refiner(image))[:, :, 1::2, ::2, 1::2])


def test_an_exported_refiner_gives_its_weights_back(refiner: Refiner, tmp_path: Path) -> None:
    patch = torch.randn(16, 16, 16).numpy()
    path = tmp_path / "small.onnx"
    export(refiner, (16, 16, 16), [patch], path)
    folded = Refiner(topology(), N_CLASSES)
    load_folded(folded, released_weights(path), path)
    coarse = UNet(COARSE, N_CLASSES)
    load_coarse(coarse, path)
    image = torch.from_numpy(patch)[None, None]
    with torch.no_grad():
        torch.testing.assert_close(folded.eval()(image), refiner(image), atol=0.02, rtol=0.01)
        half = torch.nn.functional.avg_pool3d(image, 2)
        torch.testing.assert_close(coarse.eval()(half), refiner.coarse(half), atol=0.02, rtol=0.01)


def test_weights_of_another_network_are_refused(refiner: Refiner, tmp_path: Path) -> None:
    path = tmp_path / "small.onnx"
    export(refiner, (16, 16, 16), [torch.randn(16, 16, 16).numpy()], path)
    with pytest.raises(BadCheckpoint, match=r"small\.onnx"):
        load_folded(Refiner(topology(base=8), N_CLASSES), released_weights(path), path)
    path.write_bytes(b"not a network")
    with pytest.raises(BadCheckpoint, match=r"small\.onnx"):
        released_weights(path)
