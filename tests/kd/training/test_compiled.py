"""A compiled network trains like the plain one, and a compiler that fails stops no training."""

import logging

import pytest
import torch
from torch._dynamo.testing import CompileCounterWithBackend

from kd.data.batches import Batches, Source
from kd.data.cases import read_cases
from kd.training.compiled import Compiler, compiler_of
from kd.training.losses import supervised
from kd.training.runs import new_network
from kd.training.tasks import TrainingTask, new_run
from kd.training.trainer import Trainer
from tests.support.kd_phantoms import data_set, recipe

pytestmark = pytest.mark.slow  # each test compiles

CPU = torch.device("cpu")
STEPS = 10


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Source:
    folder = data_set(tmp_path_factory.mktemp("compiled") / "balls", 2, 1)
    cases = read_cases(recipe(), folder, ["ball_0", "ball_1"])
    return Batches(cases, (16, 16, 16), recipe(is_thin=True).training, CPU)


def curve(source: Source, compiler: Compiler | None) -> list[float]:
    """Train a network on thinned batches, whose offsets differ; return the losses."""
    chosen = recipe(steps=STEPS, is_thin=True)
    record = new_run(chosen, TrainingTask("small", ("a",)), None)
    trainer = Trainer(new_network(chosen, "small"), record, CPU, compiler)
    for step in range(STEPS):
        trainer.train_step(source.at(step, chosen.augment), supervised())
    trainer.read_losses()
    return trainer.losses


def warnings_of_kd(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return our own messages: torch writes many."""
    return [record.getMessage() for record in caplog.records if record.name.startswith("kd.")]


def test_only_a_gpu_has_a_compiler() -> None:
    assert compiler_of(CPU) is None
    assert compiler_of(torch.device("cuda")) == "inductor"


def test_a_compiled_network_has_the_loss_curve_of_the_plain_one(
    source: Source, caplog: pytest.LogCaptureFixture
) -> None:
    plain = curve(source, None)
    torch._dynamo.reset()
    counted = CompileCounterWithBackend("aot_eager")
    compiled = curve(source, counted)
    assert compiled == pytest.approx(plain, rel=1e-3)
    assert counted.frame_count == 1, "shapes are fixed: the trial and all steps share it"
    assert warnings_of_kd(caplog) == []


def test_a_compiler_that_fails_is_reported_and_the_training_is_the_plain_one(
    source: Source, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        message = "no compiler here"
        raise RuntimeError(message)

    torch._dynamo.reset()
    with caplog.at_level(logging.WARNING):
        losses = curve(source, broken)
    assert losses == curve(source, None)
    (warning,) = warnings_of_kd(caplog)
    assert "no compiler here" in warning
