"""One network in training: its weights, its optimiser, its place in the budget, its checkpoint.

The schedule runs over the share of the budget that is spent, in steps or in minutes.
Shapes: B batch, K classes, Z Y X voxels.
"""

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from kd.data.augment import Batch
from kd.errors import BadCheckpoint, BadRecipe, Diverged
from kd.networks import checkpoint
from kd.networks.precision import autocast
from kd.networks.unet import UNet
from kd.recipe.choices import Augment, Training
from kd.training.losses import Objective
from kd.training.optimiser import Optimiser

CHECKPOINT = "checkpoint.pt"
FORMAT = 2
NARROW = 16  # channels at full resolution


@dataclass(frozen=True)
class Progress:
    """Where a training stands."""

    step: int
    share: float  # of the budget, 0 to 1
    loss: float  # mean since the last report
    seconds: float  # of training, over all slices


@dataclass(frozen=True)
class Outcome:
    """What a finished, or interrupted, training has reached."""

    step: int
    seconds: float
    finished: bool
    losses: tuple[float, ...]  # of the steps of this slice


@dataclass(frozen=True)
class Slice:
    """Where one call of a training runs and when it stops, apart from the budget of the whole."""

    device: str = "auto"  # the GPU where there is one; or "cpu", "cuda"
    stop_after_s: float | None = None
    stop_after_steps: int | None = None

    def is_over(self, steps: int, seconds: float) -> bool:
        """Tell whether a call that has taken so many steps and seconds stops here."""
        if self.stop_after_steps is not None and steps >= self.stop_after_steps:
            return True
        return self.stop_after_s is not None and seconds >= self.stop_after_s


def pick_device(name: str) -> torch.device:
    """Return the device `name`; "auto" is the GPU where there is one."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(name)


class Trainer:
    """One network with its optimiser, its averaged twin and its place in the budget."""

    def __init__(
        self,
        network: UNet,
        choice: Training,
        augment: Augment | None,
        identity: str,
        device: torch.device,
        *,
        older: str | None = None,
    ) -> None:
        """Prepare step 0; `identity` names all choices, so that no other training is resumed.

        `older` is the identity that older code, which told less, gave to the same training.
        """
        if (choice.steps is None) == (choice.minutes is None):
            message = "a budget is either training.steps or training.minutes"
            raise BadRecipe(message)
        self.choice, self.augment, self.identity, self.device = choice, augment, identity, device
        self.known_as = (identity, older or identity)
        self.layout = _layout(network)
        self.network = network.to(device, memory_format=self.layout)
        # buffers are averaged too: update_bn would need another pass over the training cases
        self.averaged = AveragedModel(self.network, multi_avg_fn=self._average, use_buffers=True)
        self.averaged.n_averaged += 1  # the initial weights take part, as in TensorFlow
        self.optimiser = Optimiser(self.network, choice.optimiser, choice.rate, choice.weight_decay)
        self.step, self.seconds = 0, 0.0

    @property
    def share(self) -> float:
        """Share of the budget that is spent, 0 to 1."""
        if self.choice.steps is not None:
            return min(1.0, self.step / self.choice.steps)
        assert self.choice.minutes is not None  # __init__ has looked
        return min(1.0, self.seconds / (60 * self.choice.minutes))

    def open(self, folder: Path) -> None:
        """Continue from the checkpoint in `folder`, if there is one.

        Raises:
            BadCheckpoint: it is damaged, or of another training.
        """
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / CHECKPOINT
        if path.exists():
            self.restore(checkpoint.load(path, self.device))

    def save(self, folder: Path) -> None:
        """Leave a checkpoint in `folder`.

        Raises:
            BadCheckpoint: it cannot be written; the one before is intact.
        """
        checkpoint.save(self.state(), folder / CHECKPOINT)

    def state(self) -> dict[str, Any]:
        """Return everything that the next step depends on; of a finished training, its result."""
        state = {
            "format": FORMAT,
            "identity": self.identity,
            "step": self.step,
            "seconds": self.seconds,
            "averaged": self.averaged.module.state_dict(),
        }
        if self.share < 1:
            state["network"] = self.network.state_dict()
            state["optimiser"] = self.optimiser.state()
        return state

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from what `state` returned.

        Raises:
            BadCheckpoint: it belongs to another recipe, size or seed.
        """
        if state.get("format") != FORMAT or state.get("identity") not in self.known_as:
            message = "the checkpoint in this folder belongs to another training"
            raise BadCheckpoint(message, advice="Give another --run folder, or the recipe it had")
        self.step, self.seconds = int(state["step"]), float(state["seconds"])
        self.averaged.module.load_state_dict(state["averaged"])
        self.averaged.n_averaged.fill_(self.step + 1)
        if self.share < 1:
            self.network.load_state_dict(state["network"])
            self.optimiser.restore(state["optimiser"])

    def learn(self, batch: Batch, objective: Objective) -> float:
        """Take one step; return its loss.

        Raises:
            Diverged: the loss, or its gradient, is not finite; the weights are as before.
        """
        self.optimiser.set_rate(self.choice.rate * schedule(self.share, self.choice))
        self.network.train()
        with autocast(self.device):
            image = batch.image_bczyx.contiguous(memory_format=self.layout)
            outputs = self.network.deep(image, batch.at_zyx)
        loss = objective(outputs, batch, self.share)
        value = float(loss.detach())
        self._refuse_infinite("loss", value)
        self.optimiser.forget()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.choice.clip_norm)
        self._refuse_infinite("gradient", float(norm))
        self.optimiser.step()
        self.averaged.update_parameters(self.network)
        self.step += 1
        return value

    def _refuse_infinite(self, what: str, value: float) -> None:
        """Stop before a step that would spoil the weights."""
        if not math.isfinite(value):
            message = f"the {what} is {value} at step {self.step}"
            advice = (
                "The last checkpoint is intact, but a lower rate is another training: new --run"
            )
            raise Diverged(message, advice=advice)

    def _average(self, averaged: list[Tensor], current: list[Tensor], count: Tensor) -> None:
        """Move exponential averages of one data type; early ones follow the network closely."""
        decay = min(self.choice.ema, int(count) / (9 + int(count)))
        for mine, theirs in zip(averaged, current, strict=True):
            if mine.is_floating_point():
                mine.lerp_(theirs, 1 - decay)
            else:
                mine.copy_(theirs)


def _layout(network: UNet) -> torch.memory_format:
    """Choose how voxels lie in memory: channels last, but for narrow stages on several threads.

    Measured with bf16 and torch 2.13: on two threads a step of base 8 at full resolution took
    0.24 s with channels last (half of it the backward pass of BatchNorm) and 0.13 s without, of
    base 16 0.23 s and 0.29 s; on one thread base 8 took 0.08 s and 0.13 s, base 4 half of that.
    """
    t = network.topology
    is_narrow = t.stem_stride == 1 and t.widths[0] < NARROW
    is_contiguous = is_narrow and torch.get_num_threads() > 1
    return torch.contiguous_format if is_contiguous else torch.channels_last_3d


def schedule(share: float, choice: Training) -> float:
    """Return the learning rate's factor at `share` of the budget: linear warm-up, poly decay."""
    if share < choice.warm_up:
        return (share + 1e-3) / (choice.warm_up + 1e-3)
    return float(max(0.0, 1 - share) ** choice.power)


def averaged_network(network: UNet, run: Path, device: torch.device) -> tuple[UNet, dict[str, Any]]:
    """Load the averaged weights of a run into `network`; return it with the run's story.

    Raises:
        BadCheckpoint: there is no checkpoint, it is damaged, or it has other shapes.
    """
    path = run / CHECKPOINT
    if not path.exists():
        message = f"run {run.name} has no checkpoint"
        raise BadCheckpoint(message, advice="Train first")
    state = checkpoint.load(path, device)
    try:
        network.load_state_dict(state["averaged"])
    except (KeyError, RuntimeError) as exc:
        message = f"the checkpoint of run {run.name} is of another network"
        raise BadCheckpoint(message) from exc
    story = {key: state[key] for key in ("step", "seconds")}
    story["choices"] = json.loads(state["identity"])
    return network.to(device).eval(), story


def is_finished(story: dict[str, Any]) -> bool:
    """Tell whether the run of this story has spent its budget."""
    budget = story["choices"]["training"]
    if budget["steps"] is not None:
        return bool(story["step"] >= budget["steps"])
    return bool(story["seconds"] >= 60 * budget["minutes"])


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Make the weights drawn inside the block repeatable, and leave global randomness alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
