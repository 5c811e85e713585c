"""One network in training: its weights, its optimiser and its place in the budget.

The schedule runs over the share of the budget that is spent, in steps or in minutes.
Shapes: B batch, K classes, Z Y X voxels.
"""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import torch
from torch import Tensor

from kd.data.augment import Batch
from kd.errors import BadCheckpoint, BadDevice, BadRecipe, Diverged
from kd.networks.precision import autocast
from kd.networks.unet import UNet
from kd.recipe.choices import Training
from kd.records import Run
from kd.training.checkpoints import BEST, CHECKPOINT, Checkpoint, read_checkpoint, write_checkpoint
from kd.training.compiled import Compiler, Decode, compiled_decode, compiler_of
from kd.training.losses import Objective
from kd.training.moving_average import move_average
from kd.training.optimiser import Optimiser

NARROW = 16  # channels at full resolution


@dataclass(frozen=True)
class Progress:
    """The state of a training, as reported every few steps."""

    step: int
    share: float  # of the budget, 0 to 1
    loss: float  # mean since the last report
    seconds: float  # of training, over all slices
    held_out_dice: float | None = None  # on patches of held-out cases, every few reports

    @property
    def left_s(self) -> float:
        """Expected seconds until the budget is spent, at the mean speed so far."""
        return self.seconds * (1 - self.share) / self.share if self.share > 0 else math.inf


@dataclass(frozen=True)
class Outcome:
    """The state of a training at the end of a slice."""

    step: int
    seconds: float
    finished: bool
    losses: tuple[float, ...]  # of the steps of this slice


@dataclass(frozen=True)
class Slice:
    """One call of a command: its device, its cache, and when it stops before the budget is spent.

    The time counts from `begun`, so that one call ends on time whatever it does first.
    """

    device: str = "auto"  # the GPU where there is one; or "cpu", "cuda"
    stop_after_s: float | None = None
    stop_after_steps: int | None = None
    cache: Path | None = None  # folder of prepared cases; None: they are held in memory
    begun: float = field(default_factory=time.monotonic)

    def is_over(self, steps: int = 0, now: float | None = None) -> bool:
        """Return whether a call stops after this many steps, at a time of the monotonic clock."""
        if self.stop_after_steps is not None and steps >= self.stop_after_steps:
            return True
        seconds = (time.monotonic() if now is None else now) - self.begun
        return self.stop_after_s is not None and seconds >= self.stop_after_s


def pick_device(name: str) -> torch.device:
    """Return the device `name`; "auto" is the GPU where there is one.

    Raises:
        BadDevice: no such device here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as exc:  # torch without CUDA raises AssertionError
        message = f"device {name} is not available on this machine"
        raise BadDevice(message, advice="Give --device cpu, or leave it out") from exc
    return device


class Trainer:
    """A network, its optimiser and the moving average of its weights.

    A step never reads a number from the device, so a GPU has its next kernels before it needs them.
    """

    def __init__(
        self, network: UNet, run: Run, device: torch.device, compiler: Compiler | None = None
    ) -> None:
        """Prepare step 0 of `run`.

        Args:
            network: with its initial weights.
            run: its record.
            device: on which it is trained.
            compiler: of the network; None: that of `compiler_of`.

        Raises:
            BadRecipe: the budget is neither steps nor minutes, or both; only the fine stage is to
                be trained, and there is none.
        """
        assert run.choices is not None  # an imported network is not trained
        choice = run.choices.training
        if (choice.steps is None) == (choice.minutes is None):
            message = "a budget is either training.steps or training.minutes"
            raise BadRecipe(message)
        self.choice, self.augment, self.device = choice, run.choices.augment, device
        self._run = run
        if choice.fine_stage_only:
            if network.fine is None:
                message = f"training.fine_stage_only: true, but size {run.choices.size} has none"
                raise BadRecipe(message, advice="Give the size a fine_width")
            network.train_fine_stage_only()
        self.layout = _layout(network)
        self.network = network.to(device)
        network.to(memory_format=self.layout)  # type: ignore[call-overload]  # torch's stub
        self.averaged = deepcopy(self.network).requires_grad_(requires_grad=False)
        self._compiler = compiler or compiler_of(device)
        self._decode: Decode | None = None  # of the network; made at the first step
        self.optimiser = Optimiser(self.network, choice.optimiser, choice.rate, choice.weight_decay)
        self.step, self.seconds = 0, 0.0
        self.rate = 0.0  # of the last step
        self.gradient_norm = 0.0  # of the last step whose loss is read
        self.losses: list[float] = []  # of the steps of this object, as far as they are read
        self._unread: list[Tensor] = []  # loss and norm of the gradient of each later step

    @property
    def share(self) -> float:
        """Share of the budget that is spent, 0 to 1."""
        if self.choice.steps is not None:
            return min(1.0, self.step / self.choice.steps)
        assert self.choice.minutes is not None  # checked by __init__
        return min(1.0, self.seconds / (60 * self.choice.minutes))

    @property
    def run(self) -> Run:
        """The record of this training as it stands."""
        return msgspec.structs.replace(self._run, step=self.step, seconds=self.seconds)

    def open(self, folder: Path) -> None:
        """Continue from the checkpoint in `folder`, if there is one.

        Raises:
            BadCheckpoint: it is damaged, or of another training.
        """
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / CHECKPOINT).exists():
            self._restore(read_checkpoint(folder, self.device))

    def save(self, folder: Path) -> None:
        """Write a checkpoint to `folder`.

        Raises:
            BadCheckpoint: it cannot be written; the one before is intact.
            Diverged: a loss or gradient since the last one is not finite; likewise.
        """
        self.read_losses()
        averaged = self.averaged.state_dict()
        if self.share >= 1:
            write_checkpoint(Checkpoint(self.run, averaged), folder)
            return
        network, optimiser = self.network.state_dict(), self.optimiser.state()
        write_checkpoint(Checkpoint(self.run, averaged, network, optimiser), folder)

    def save_best(self, folder: Path) -> None:
        """Keep the averaged weights of this step as the best ones of the run.

        Raises:
            BadCheckpoint: they cannot be written; those before are intact.
            Diverged: a loss or gradient is not finite; likewise.
        """
        self.read_losses()
        averaged = self.averaged.state_dict()
        write_checkpoint(Checkpoint(self.run, averaged), folder, BEST)

    def _restore(self, saved: Checkpoint) -> None:
        if saved.run.identity != self._run.identity:
            message = "the checkpoint in this folder belongs to another training"
            raise BadCheckpoint(message, advice="Give another --run folder, or the recipe it had")
        self.step, self.seconds = saved.run.step, saved.run.seconds
        self.averaged.load_state_dict(saved.averaged)
        if self.share < 1:
            if saved.network is None or saved.optimiser is None:
                message = "the checkpoint in this folder lacks the state of an unfinished training"
                raise BadCheckpoint(message, advice="Remove it to train from the beginning")
            self.network.load_state_dict(saved.network)
            self.optimiser.restore(saved.optimiser)

    def train_step(self, batch: Batch, objective: Objective) -> None:
        """Take one step; its loss stays on the device until `read_losses`."""
        self.rate = self.choice.rate * schedule(self.share, self.choice)
        self.optimiser.set_rate(self.rate)
        self.network.train()
        image = batch.image_bczyx.contiguous(memory_format=self.layout)
        decode = self._decode or self._first_decode(image)
        with autocast(self.device):
            outputs = self.network.scores(image, decode(image), batch.at_zyx)
        loss = objective(outputs, batch, self.share)
        self.optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        norm = torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.choice.clip_norm)
        self.optimiser.step()
        # the initial weights take part, and the first steps follow the network closely
        decay = min(self.choice.ema, (self.step + 1) / (self.step + 10))
        move_average(self.averaged, self.network, decay)
        self._unread.append(torch.stack([loss.detach(), norm]))
        self.step += 1

    def read_losses(self) -> None:
        """Append the losses of all steps to `losses`; this waits for the device.

        Raises:
            Diverged: a loss, or its gradient, is not finite. Later weights are spoilt, and `save`
                refuses them.
        """
        if not self._unread:
            return
        values = torch.stack(self._unread).tolist()
        for step, (loss, norm) in enumerate(values, self.step - len(values)):
            _refuse_infinite("loss", loss, step)
            _refuse_infinite("gradient", norm, step)
        self._unread.clear()
        self.losses += [loss for loss, _ in values]
        self.gradient_norm = values[-1][1]

    def _first_decode(self, image_bczyx: Tensor) -> Decode:
        """Return the decoder of all steps: images have one shape."""
        self._decode = self.network.decode
        if self._compiler is not None:
            self._decode = compiled_decode(self.network, image_bczyx, self._compiler)
        return self._decode


def _refuse_infinite(quantity: str, value: float, step: int) -> None:
    if not math.isfinite(value):
        message = f"the {quantity} is {value} at step {step}"
        advice = "The last checkpoint is intact, but a lower rate is another training: new --run"
        raise Diverged(message, advice=advice)


def _layout(network: UNet) -> torch.memory_format:
    """Choose the memory format: channels last, except for narrow stages on several threads.

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


def averaged_network(
    network: UNet, folder: Path, device: torch.device, name: str = CHECKPOINT
) -> tuple[UNet, Run]:
    """Load averaged weights of the run in `folder`; return the network and the run's record.

    Raises:
        BadCheckpoint: there is no checkpoint, it is damaged, or it has other shapes.
    """
    saved = read_checkpoint(folder, device, name)
    try:
        network.load_state_dict(saved.averaged)
    except RuntimeError as exc:
        message = f"the checkpoint of run {folder.name} is of another network"
        raise BadCheckpoint(message) from exc
    return network.to(device).eval(), saved.run


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Make random weights inside the block repeatable; leave the global random state alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
