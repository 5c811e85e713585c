"""The checkpoint of a run: its record, its averaged weights, and what the next step depends on."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from kd.data.device import CPU
from kd.errors import BadCheckpoint, BadRecord
from kd.networks import checkpoint
from kd.records import Run, decode_run, encode_run

CHECKPOINT = "checkpoint.pt"
BEST = "best.pt"  # averaged weights of the step with the largest Dice on held-out patches


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """Everything that a run needs to continue; of a finished run, its result."""

    run: Run
    averaged: dict[str, Tensor]  # weights and buffers
    network: dict[str, Tensor] | None = None  # None: the budget is spent
    optimiser: list[dict[str, Any]] | None = None


def write_checkpoint(saved: Checkpoint, folder: Path, name: str = CHECKPOINT) -> None:
    """Write a checkpoint of the run in `folder`.

    Raises:
        BadCheckpoint: it cannot be written; the one before is intact.
    """
    content: dict[str, Any] = {"run": encode_run(saved.run), "averaged": saved.averaged}
    if saved.network is not None:
        content |= {"network": saved.network, "optimiser": saved.optimiser}
    checkpoint.save(content, folder / name)


def read_checkpoint(folder: Path, device: torch.device, name: str = CHECKPOINT) -> Checkpoint:
    """Read a checkpoint of the run in `folder`.

    Raises:
        BadCheckpoint: there is none, it is damaged, or another version of kd wrote it.
    """
    path = folder / name
    if not path.exists() and name == BEST:
        message = f"run {folder.name} has no {BEST}: no fold was held out of its training"
        raise BadCheckpoint(message, advice="Train with --without-fold, or leave out --best")
    if not path.exists():
        message = f"run {folder.name} has no checkpoint"
        raise BadCheckpoint(message, advice="Train first")
    content = checkpoint.load(path, device)
    record, averaged = content.get("run"), content.get("averaged")
    if not isinstance(record, str) or not isinstance(averaged, dict):
        message = f"checkpoint {name} in {folder.name} is of another version of kd"
        raise BadCheckpoint(message, advice="Train the run again, in another folder")
    try:
        run = decode_run(record)
    except BadRecord as exc:
        message = f"checkpoint {name} in {folder.name}: {exc.message}"
        raise BadCheckpoint(message, advice=exc.advice) from exc
    return Checkpoint(run, averaged, content.get("network"), content.get("optimiser"))


def read_record(folder: Path) -> Run:
    """Return the record of the run in `folder`.

    Raises:
        BadCheckpoint: as `read_checkpoint`.
    """
    return read_checkpoint(folder, CPU).run
