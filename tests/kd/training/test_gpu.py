"""The same training on a GPU and on the CPU: one loss curve within noise, and no waiting.

Without a GPU, `test_no_waiting` and `test_device` check the same code.
"""

import logging
from pathlib import Path

import pytest
import torch

from kd.data.batches import SyntheticBatches
from kd.data.cases import read_anatomy
from kd.data.prefetch import PrefetchedBatches
from kd.recipe.choices import Generator
from kd.training.losses import supervised
from kd.training.runs import new_network
from kd.training.steps import train, training_cases
from kd.training.tasks import TrainingTask, new_run
from kd.training.trainer import Slice, Trainer
from tests.kd.data.test_synthesis import ANATOMY, head, synthetic_recipe
from tests.support.kd_phantoms import data_set, recipe
from tests.support.kd_training import silent

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no GPU"),
]

PATCH = (16, 16, 16)


def test_gpu_and_cpu_have_one_loss_curve_within_noise(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = data_set(tmp_path / "balls", 2, 1)
    chosen = recipe(steps=120)
    task = TrainingTask("small", training_cases(chosen, folder, None))
    curves = [
        train(chosen, folder, task, tmp_path / on, limits=Slice(on), report=silent).losses
        for on in ("cpu", "cuda")
    ]
    begun, ended = ([sum(losses[at:][:20]) / 20 for losses in curves] for at in (0, 100))
    assert begun[1] == pytest.approx(begun[0], rel=0.15)
    assert ended[0] < 0.8 * begun[0]
    assert ended[1] == pytest.approx(ended[0], rel=0.15)
    messages = [r for r in caplog.records if r.name.startswith("kd.") and r.levelno > logging.INFO]
    assert messages == [], "the network was compiled"


def test_no_step_on_a_gpu_waits(tmp_path: Path) -> None:
    head(tmp_path)
    generator, device = Generator(anatomy=ANATOMY), torch.device("cuda")
    chosen = synthetic_recipe(generator, steps=50)
    maps = [read_anatomy(chosen, tmp_path, "head_0")]
    source = SyntheticBatches(maps, PATCH, chosen.training, generator, device)
    ahead = PrefetchedBatches(source, device)
    record = new_run(chosen, TrainingTask("small", ("head_0",)), None)
    trainer = Trainer(new_network(chosen, "small"), record, device)
    for step in range(3):  # they compile, and fill torch's caches
        trainer.train_step(ahead.at(step, None), supervised())
    trainer.read_losses()
    torch.cuda.set_sync_debug_mode("error")
    try:
        for step in range(3, 10):
            trainer.train_step(ahead.at(step, None), supervised())
    finally:
        torch.cuda.set_sync_debug_mode("default")
    ahead.close()
    trainer.read_losses()
    assert len(trainer.losses) == 10
