"""Short trainings on the phantoms without progress messages, and recipes that a user edited."""

from pathlib import Path

import yaml

from kd.training.steps import train, training_cases
from kd.training.tasks import TrainingTask
from kd.training.trainer import Outcome, Progress, Slice
from tests.support.kd_phantoms import recipe

CODE = {"value": "5366008", "scheme": "SCT", "meaning": "Hippocampus"}
CATEGORY = {"value": "91723000", "scheme": "SCT", "meaning": "Anatomical Structure"}


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


def fill_in(recipe: Path) -> None:
    """Edit a planned recipe as its user does: replace every "?" and remove the gates."""
    chosen = yaml.safe_load(recipe.read_text(encoding="utf-8"))
    chosen["intended_use"] = "Tests."
    chosen["data"] |= {"source": "made by the tests", "licence": "Apache-2.0"}
    chosen["gates"] = {}
    for part in chosen["segments"]:
        part |= {"type": CODE, "category": CATEGORY}
    recipe.write_text(yaml.safe_dump(chosen), encoding="utf-8")
