"""Short trainings on the phantoms, without progress messages."""

from pathlib import Path

from kd.training.steps import train, training_cases
from kd.training.tasks import TrainingTask
from kd.training.trainer import Outcome, Progress, Slice
from tests.support.kd_phantoms import recipe


def silent(_: Progress) -> None:
    """Print nothing."""


def train_small(
    folder: Path, run: Path, *, stop_after: int | None = None, **training: object
) -> Outcome:
    """Train the small size on all training cases of `folder`; `training` changes the recipe."""
    limits = Slice("cpu", stop_after_steps=stop_after)
    chosen = recipe(**training)
    task = TrainingTask("small", training_cases(chosen, folder, None))
    return train(chosen, folder, task, run, limits=limits, report=silent)
