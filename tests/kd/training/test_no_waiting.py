"""A training step never waits for its device.

The device is torch's `meta`, whose tensors have no values, so that no GPU is needed. Whatever the
host would have to wait for fails on it: a number that is read, a branch or a shape that depends on
values, a copy to the host. Blocking copies to the device, which `meta` allows, are refused here.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from kd.data import device as device_module
from kd.data.augment import Batch
from kd.data.batches import Batches, DistillationBatches, Source, SyntheticBatches
from kd.data.cases import read_anatomy, read_cases
from kd.data.device import CPU
from kd.recipe.choices import Augment, Contrast, Distillation, Generator
from kd.recipe.read import Recipe
from kd.training.losses import Objective, Terms, distilled, supervised
from kd.training.runs import new_network
from kd.training.tasks import TrainingTask, new_run
from kd.training.trainer import Trainer
from tests.kd.data.test_synthesis import ANATOMY, LEFT, RIGHT, head, synthetic_recipe
from tests.support.kd_phantoms import data_set, recipe

META = torch.device("meta")
PATCH = (16, 16, 16)
# what torch says where a value, a shape or a copy to the host is needed, and what we say of a copy
WAITS = r"(?i)meta tensor|'Meta' backend|register_meta function|blocking copy"
STEPS = 9  # all offsets of thinned batches, and one more
ALL = Augment(mirror_left=True)  # no effect is skipped, whatever its probability
GENERATOR = Generator(
    anatomy=msgspec.structs.replace(ANATOMY, alike=((LEFT, RIGHT),)),
    contrasts=(Contrast(name="T1", share=0.5, means=(0.7,)),),
    air_p=0.5, strip_p=0.5, crop_p=0.5,
)  # fmt: skip


class NoBlockingCopies(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Refuse copies from the host to the device that the host waits for."""

    def __torch_dispatch__(
        self, func: Any, _types: Any, args: Any = (), kwargs: Any = None
    ) -> object:
        """Compute `func`, unless it is such a copy."""
        options = kwargs or {}
        if func is torch.ops.aten._to_copy.default:
            is_sent = args[0].device == CPU and options.get("device") == META
            if is_sent and not options.get("non_blocking"):
                message = "a blocking copy to the device"
                raise RuntimeError(message)
        return func(*args, **options)


def no_blocking_copies() -> NoBlockingCopies:
    """Return the context in which they are refused."""
    return NoBlockingCopies()  # type: ignore[no-untyped-call]


@pytest.fixture(autouse=True)
def _draws_for_meta(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give `meta` torch's generator of the host: torch has none for it."""
    monkeypatch.setattr(device_module, "Generator", lambda _device=None: torch.Generator())


@pytest.mark.parametrize(
    "waits",
    [
        lambda on, _: on.sum().item(),
        lambda on, _: float(on[0]),
        lambda on, _: bool(on.sum() > 0),
        lambda on, _: torch.bincount(on.long()),
        lambda on, _: on.nonzero(),
        lambda on, _: on[on > 0],
        lambda on, _: on.cpu(),
        lambda on, _: on.tolist(),
        lambda _, host: host.to(META),
    ],
)
def test_whatever_waits_fails_on_this_device(waits: Callable[[Tensor, Tensor], object]) -> None:
    on, host = torch.ones(4, device=META), torch.ones(4)
    with no_blocking_copies(), pytest.raises(RuntimeError, match=WAITS):
        waits(on, host)


def labelled(folder: Path, chosen: Recipe) -> Source:
    """Return augmented cases with soft targets, one of them without reference for a segment."""
    cases = read_cases(chosen, data_set(folder / "balls", 2, 1), ["ball_0", "ball_1"])
    cases[1] = replace(cases[1], unknown=(2,))
    shape = (3, *cases[0].image.array.shape)
    soft = [np.full(shape, np.log(1 / 3), np.float16) for _ in cases]
    edges = (3.0, 1.0, 1.0)
    return Batches(cases, PATCH, chosen.training, META, soft=soft, spacing_mm_zyx=edges)


def synthetic(folder: Path, chosen: Recipe) -> Source:
    """Return synthetic images with a teacher that is evaluated at every step."""
    head(folder)
    maps = [read_anatomy(chosen, folder, "head_0")]
    assert chosen.generator is not None
    source = SyntheticBatches(maps, PATCH, chosen.training, chosen.generator, META)
    return DistillationBatches(source, [new_network(chosen, "teacher").to(META).eval()], META)


def trained(source: Source, chosen: Recipe, objective: Objective) -> tuple[Trainer, list[Batch]]:
    """Take steps on the device; return the trainer and its batches."""
    record = new_run(chosen, TrainingTask("small", ("a",)), None)
    with no_blocking_copies():
        batches = [source.at(step, ALL) for step in range(STEPS)]
    trainer = Trainer(new_network(chosen, "small"), record, META)
    with no_blocking_copies():
        for batch in batches:
            trainer.train_step(batch, objective)
    return trainer, batches


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "optimiser", "is_thin"),
    [
        (labelled, "adamw", False),
        (labelled, "muon", True),
        (synthetic, "adamw", True),
        (synthetic, "muon", False),
    ],
)
def test_no_step_waits_and_all_batches_have_one_shape(
    tmp_path: Path, kind: Callable[[Path, Recipe], Source], optimiser: str, is_thin: bool
) -> None:
    training = {"optimiser": optimiser, "is_thin": is_thin, "steps": 30}
    chosen = recipe(**training) if kind is labelled else synthetic_recipe(GENERATOR, **training)
    terms = Terms()
    objective = distilled(Distillation(has_class_weights=True), 0.5, terms)
    trainer, batches = trained(kind(tmp_path, chosen), chosen, objective)
    assert trainer.step == STEPS
    shapes = {
        tuple((name, t.device.type, tuple(t.shape)) for name, t in vars(b).items() if _is_tensor(t))
        for b in batches
    }
    assert len(shapes) == 1
    assert {where for _, where, _ in next(iter(shapes))} == {"meta"}
    assert terms.kl is not None
    with pytest.raises(RuntimeError, match=WAITS):  # only here are losses read
        trainer.read_losses()


def _is_tensor(value: object) -> bool:
    return isinstance(value, Tensor)


@pytest.mark.slow
def test_no_step_waits_where_labels_are_the_only_signal(tmp_path: Path) -> None:
    chosen = recipe(steps=30)
    trainer, _ = trained(labelled(tmp_path, chosen), chosen, supervised(0.5))
    assert (trainer.step, trainer.losses) == (STEPS, [])
