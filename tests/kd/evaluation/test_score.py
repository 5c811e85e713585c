"""Scores on a fold of the training cases: only for runs that were not trained on it."""

import json
from pathlib import Path

import pytest

from kd.commands import main
from kd.errors import BadSplit
from kd.evaluation.score import score
from kd.training.steps import held_out, training_cases
from tests.support.kd_phantoms import data_set, recipe, write_recipe

pytestmark = pytest.mark.slow  # each test trains

BUDGET = ["--steps", "60", "--device", "cpu"]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set, and one run that was not trained on fold 0."""
    root = tmp_path_factory.mktemp("score")
    data_set(root / "balls", 4, 2)
    write_recipe(root / "recipe.yaml")
    assert main(_words(root, "train", "--without-fold", "0", *BUDGET)) == 0
    return root


def _words(root: Path, command: str, *more: str) -> list[str]:
    words = [command, str(root / "recipe.yaml"), "--data", str(root / "balls")]
    return [*words, "--size", "small", "--run", str(root / "run"), *more]


def test_a_run_is_scored_on_its_held_out_fold(
    world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(_words(world, "score", "--fold", "0", "--json")) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["cases"] == 2
    assert printed["dice"]["ci"][0] <= printed["dice"]["mean"] <= printed["dice"]["ci"][1]
    assert printed["dice"]["mean"] == pytest.approx(sum(printed["per_structure"].values()) / 2)
    assert printed["dice"]["mean"] > 0.3, "it has learned something"
    assert main(_words(world, "score", "--fold", "0")) == 0
    assert capsys.readouterr().out.startswith("2 cases: Dice 0.")


def test_a_fold_used_in_training_is_refused(
    world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(BadSplit, match="was trained on case ball_"):
        score(recipe(), world / "balls", "small", world / "run", 1, device="cpu")
    assert main(_words(world, "score", "--fold", "1")) == 1
    assert "--without-fold 1" in capsys.readouterr().err


def test_leaving_out_a_fold_leaves_the_others(world: Path) -> None:
    chosen, folder = recipe(), world / "balls"
    names = training_cases(chosen, folder, None)
    trained = training_cases(chosen, folder, 0)
    assert sorted((*trained, *held_out(chosen, folder, 0))) == sorted(names)
    assert trained == training_cases(recipe(seed=9), folder, 0), "a seed deals no other folds"


@pytest.mark.parametrize("fold", [-1, 2])
def test_a_fold_that_does_not_exist_is_refused(world: Path, fold: int) -> None:
    with pytest.raises(BadSplit, match=f"there is no fold {fold}"):
        training_cases(recipe(), world / "balls", fold)


def test_a_refused_command_does_not_replace_the_noted_one(world: Path) -> None:
    before = (world / "run" / "command.txt").read_text(encoding="utf-8")
    assert main(_words(world, "train", "--without-fold", "0", "--seed", "9", *BUDGET)) == 1
    assert (world / "run" / "command.txt").read_text(encoding="utf-8") == before
