"""The progress of a training, as one line of JSON every few steps, in the folder of its run.

A resumed training continues at its checkpoint: lines of later steps are removed, so that no step is
logged twice.
"""

from collections.abc import Sequence
from pathlib import Path

import msgspec

from node import durable

LOG = "log.jsonl"


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """The state of a training after one step."""

    step: int
    share: float  # of the budget, 0 to 1
    seconds: float  # of training, over all sessions
    loss: float  # mean since the last entry
    labels: float  # of it, at this step: Dice and cross-entropy on the reference labels
    kl: float | None = None  # divergence from the teacher at this step; None: no teacher
    teacher_weight: float | None = None  # of the divergence in the loss
    rate: float
    gradient_norm: float
    held_out_dice: float | None = None  # mean Dice on fixed patches of held-out cases


def append(folder: Path, entry: Entry) -> None:
    """Add one line to the log of the run in `folder`."""
    with (folder / LOG).open("ab") as file:
        file.write(msgspec.json.encode(entry) + b"\n")


def rewind(folder: Path, step: int) -> None:
    """Remove the lines after `step`, where a training is resumed."""
    if not (folder / LOG).exists():
        return
    entries = [entry for entry in read_log(folder) if entry.step <= step]
    durable.write(folder / LOG, b"".join(msgspec.json.encode(entry) + b"\n" for entry in entries))


def read_log(folder: Path) -> list[Entry]:
    """Return the log of a run; a line that a kill has cut off is left out."""
    path = folder / LOG
    if not path.exists():
        return []
    entries = []
    for line in path.read_bytes().splitlines():
        try:
            entries.append(msgspec.json.decode(line, type=Entry))
        except msgspec.MsgspecError:
            continue
    return entries


def best_dice(entries: Sequence[Entry]) -> Entry | None:
    """Return the entry with the largest Dice on held-out patches, the first one of equals."""
    measured = [entry for entry in entries if entry.held_out_dice is not None]
    return max(measured, key=lambda entry: entry.held_out_dice or 0.0, default=None)


def last_dice(entries: Sequence[Entry]) -> float | None:
    """Return the latest Dice on held-out patches, if there is one."""
    values = [entry.held_out_dice for entry in entries if entry.held_out_dice is not None]
    return values[-1] if values else None
