"""Small labelled cases with two structures, and a recipe for them: seconds instead of minutes."""

import json
from pathlib import Path

import msgspec
import numpy as np
import torch
import yaml

from kd.recipe.read import Recipe
from node.imaging import Grid, Labels, Volume
from node.imaging.nifti import write

SHAPE = (20, 24, 20)
torch.set_num_threads(1)  # networks this small lose more to waiting for a second thread

RECIPE = {
    "task": "two-balls",
    "title": "Two balls",
    "intended_use": "Tests.",
    "data": {"source": "made by the tests", "licence": "Apache-2.0"},
    "input": {
        "modality": "MR",
        "spacing_mm": {"low": 0.5, "high": 2},
        "field_of_view_mm": {"low": 10, "high": 100},
        "slices": {"low": 8, "high": 100},
    },
    "grid": {"spacing_mm_zyx": [1.0, 1.0, 1.0], "patch_zyx": [16, 16, 16], "overlap": 0.5},
    "intensity": [{"step": "z_score"}],
    "segments": [
        {
            "number": number,
            "label": label,
            "category": {"value": "91723000", "scheme": "SCT", "meaning": "Anatomical Structure"},
            "type": {"value": "5366008", "scheme": "SCT", "meaning": "Hippocampus"},
            "colour_rgb": colour,
        }
        for number, label, colour in (
            (1, "Bright ball", [230, 80, 60]),
            (2, "Dark ball", [0, 0, 9]),
        )
    ],
    "strides_zyx": [[1, 1, 1], [2, 2, 2]],
    "sizes": {
        "teacher": {"base": 8, "norm": "instance"},
        "small": {"base": 4, "norm": "batch"},
    },
    "folds": 2,
    "training": {"batch": 2, "steps": 6, "minutes": None, "rate": 0.01, "ema": 0.9},
}


def recipe(**training: object) -> Recipe:
    """Return the recipe of the phantoms, with other training choices where given."""
    chosen = RECIPE | {"training": RECIPE["training"] | training}  # type: ignore[operator]
    return msgspec.convert(chosen, Recipe)


def write_recipe(path: Path, **training: object) -> Path:
    """Write the same recipe as YAML."""
    chosen = RECIPE | {"training": RECIPE["training"] | training}  # type: ignore[operator]
    path.write_text(yaml.safe_dump(chosen), encoding="utf-8")
    return path


def pair(seed: int) -> tuple[Volume, Labels]:
    """Return an image of a bright ball in front of a dark one, in noise, and its labels."""
    rng = np.random.default_rng(seed)
    grid = Grid(SHAPE, np.array([[0, 0, 1.0, 5], [0, 1, 0, -7], [1, 0, 0, 3], [0, 0, 0, 1]]))
    z, y, x = np.indices(SHAPE)
    image = rng.normal(100, 8, SHAPE)
    labels = np.zeros(SHAPE, np.uint8)
    for number, at, change in ((1, 7, 60), (2, 16, -60)):
        centre = np.array([10, at, 10]) + rng.uniform(-1.5, 1.5, 3)
        distance = np.sqrt((z - centre[0]) ** 2 + (y - centre[1]) ** 2 + (x - centre[2]) ** 2)
        labels[distance < 4] = number
        image[distance < 4] += change
    return Volume(image.astype(np.float32), grid), Labels(labels, grid)


def data_set(folder: Path, n_train: int = 4, n_test: int = 2) -> Path:
    """Write a data set of phantoms with its split file."""
    names = [f"ball_{i}" for i in range(n_train + n_test)]
    for sub in ("images", "labels"):
        (folder / sub).mkdir(parents=True)
    for i, name in enumerate(names):
        image, labels = pair(i)
        write(image, folder / "images" / f"{name}.nii.gz")
        write(labels, folder / "labels" / f"{name}.nii.gz")
    splits = {"train": names[:n_train], "val": names[n_train:]}
    (folder / "splits.json").write_text(json.dumps(splits), encoding="utf-8")
    return folder
