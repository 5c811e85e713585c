"""The logs and pictures of runs as event files of TensorBoard, where its extra is installed."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from kd.errors import BadRecord
from kd.evaluation.training_report import CURVES, PICTURES, TrainedRun


def write_events(runs: Sequence[TrainedRun], folder: Path) -> None:
    """Write one folder of events for each run: every curve by step, and its pictures.

    Args:
        runs: from `kd.evaluation.training_report.trained_runs`.
        folder: a new or empty folder, for `tensorboard --logdir`.

    Raises:
        BadRecord: the folder has content, or the extra is not installed.
    """
    try:
        from tensorboardX import SummaryWriter  # noqa: PLC0415 - an extra
    except ModuleNotFoundError as exc:
        message = "--tensorboard needs tensorboardX, which is not installed"
        raise BadRecord(message, advice="pip install 'segnode[kd,tensorboard]'") from exc
    if folder.exists() and any(folder.iterdir()):
        message = f"folder {folder} has content, and events would be there twice"
        raise BadRecord(message, advice="Give another folder, or remove it")
    for run in runs:
        with SummaryWriter(str(folder / run.name)) as writer:
            for title, step, value in _values(run):
                writer.add_scalar(title, value, step)
            for title, pixels in _pictures(run):
                writer.add_image(title, pixels, 0, dataformats="HWC")


def _values(run: TrainedRun) -> Iterator[tuple[str, int, float]]:
    """Yield title, step and value of every point of every curve."""
    for title, read in CURVES:
        for entry in run.log:
            if (value := read(entry)) is not None:
                yield title, entry.step, value


def _pictures(run: TrainedRun) -> Iterator[tuple[str, npt.NDArray[np.uint8]]]:
    """Yield title and pixels [H, W, 3] of every picture of the run."""
    for name, title in PICTURES.items():
        path = run.folder / name
        if path.is_file():
            with Image.open(path) as picture:
                yield title, np.asarray(picture)
