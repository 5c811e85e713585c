"""Planned recipes against the recipes of the released families: every difference is reviewed."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

import kd
from kd.planning.plan import planned_gates, planned_training
from kd.recipe.choices import Augment, Distillation
from kd.recipe.read import Recipe, read_recipe

RECIPES = Path(kd.__file__).parent / "recipes"

# key -> value in the shipped recipe; the recipe's comments and docs/records say why
DIFFERENCES: dict[str, dict[str, Any]] = {
    "abdomen-ct-btcv": {},  # not trained here: as planned
    "hippocampus-mr-family": {
        "training.optimiser": "adamw",  # chosen before Muon was tried
        "training.rate": 0.004,
        "training.balance": 0.0,
        "training.steps": 1800,
        "training.patch_zyx": [32, 48, 32],
        "augment.mirror_left": True,  # all training images show a left hippocampus
        "folds": 4,
        "released_teacher": "ensemble",
    },
    "headneck-ct": {
        "training.batch": 1,
        "training.seed": 2,
        "training.foreground_share": 0.5,
        "training.patch_zyx": [48, 48, 64],
        "folds": 1,
    },
    "brain-mr": {
        "training.ema": 0.995,
        "training.seed": 2,
        "training.steps": 6500,
        "training.patch_zyx": [64, 80, 64],
        "distillation.has_class_weights": True,  # measured equal to plain KL on synthetic images
        "folds": 1,
    },
}


def flat(recipe: Recipe) -> dict[str, Any]:
    """Return the choices of a recipe that have a default, by key."""
    plain = msgspec.json.decode(msgspec.json.encode(recipe))
    values = {key: plain[key] for key in ("folds", "fold_size", "released_teacher")}
    for part in ("training", "distillation", "augment"):
        values |= {f"{part}.{key}": value for key, value in plain[part].items()}
    return values


def planned(recipe: Recipe) -> Recipe:
    """Return a recipe with the choices that `kd plan` proposes for as many classes."""
    return msgspec.structs.replace(
        recipe,
        training=planned_training(recipe.n_classes),
        distillation=Distillation(),
        augment=Augment(),
        folds=5,
        fold_size="teacher",
        released_teacher="trained",
    )


@pytest.mark.parametrize("name", sorted(DIFFERENCES))
def test_every_difference_of_a_shipped_recipe_is_reviewed(name: str) -> None:
    recipe = read_recipe(RECIPES / f"{name}.yaml")
    mine, proposed = flat(recipe), flat(planned(recipe))
    assert {k: v for k, v in mine.items() if v != proposed[k]} == DIFFERENCES[name]


def test_all_shipped_recipes_are_compared() -> None:
    assert sorted(path.stem for path in RECIPES.glob("*.yaml")) == sorted(DIFFERENCES)


def test_planned_gates_require_something_of_every_size() -> None:
    gates = planned_gates(("teacher", "large", "small"))
    assert gates.dice.keys() == {"teacher"}
    assert gates.retention.keys() == {"large", "small"}
    assert all(0.5 < least < 1 for least in (*gates.dice.values(), *gates.retention.values()))
