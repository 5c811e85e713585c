"""A student inherits its teacher's training cases: it is neither scored nor released on them."""

import json
from pathlib import Path

import pytest
import torch

from kd.commands import main
from kd.data.soft_targets import TRAINING_CASES
from kd.records import Run
from kd.training.checkpoints import read_checkpoint
from tests.support.kd_phantoms import data_set, write_recipe

pytestmark = pytest.mark.slow  # each test trains

CPU = torch.device("cpu")
ALL = {"ball_0", "ball_1", "ball_2", "ball_3"}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set, a teacher of two folds and its maps, and those of the network without fold 0."""
    root = tmp_path_factory.mktemp("cases")
    data_set(root / "balls", 4, 2)
    write_recipe(root / "recipe.yaml")
    assert main(_words(root, "teach", "--runs", str(root / "runs"))) == 0
    alone = ["--size", "teacher", "--run", str(root / "runs" / "teacher_0")]
    assert main(_words(root, "soften", *alone, "--soft", str(root / "soft-0"))) == 0
    return root


def _words(root: Path, command: str, *more: str) -> list[str]:
    """Return a command line that trains on the CPU."""
    words = [command, str(root / "recipe.yaml"), "--data", str(root / "balls")]
    return [*words, *more, "--device", "cpu"]


def _distill(root: Path, run: str, *more: str) -> int:
    return main(_words(root, "distill", "--size", "small", "--run", str(root / run), *more))


def _score(root: Path, run: str, fold: str) -> int:
    words = ["--size", "small", "--run", str(root / run), "--fold", fold]
    return main(_words(root, "score", *words))


def _record(run: Path) -> Run:
    return read_checkpoint(run, CPU).run


def test_a_student_is_scored_on_cases_that_no_teacher_used(
    world: Path,
) -> None:
    soft = ["--soft", str(world / "soft-0"), "--without-fold", "0"]
    assert _distill(world, "fair", *soft) == 0
    run = _record(world / "fair")
    assert run.cases_used == set(run.cases) < ALL
    assert _score(world, "fair", "0") == 0


def test_a_student_of_all_folds_is_scored_on_no_fold(
    world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    soft = ["--soft", str(world / "runs" / "soft"), "--without-fold", "0"]
    assert _distill(world, "unfair", *soft) == 0
    assert _record(world / "unfair").cases_used == ALL
    assert _score(world, "unfair", "0") == 1
    assert "was trained on case ball_" in capsys.readouterr().err


def test_soft_targets_of_the_held_out_fold_are_refused_before_training(
    world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _distill(world, "refused", "--runs", str(world / "runs"), "--without-fold", "0") == 1
    error = capsys.readouterr().err
    assert "fold 0" in error
    assert f"kd soften with --size teacher --run {world / 'runs' / 'teacher_0'}" in error
    assert not (world / "refused").exists()
    family = ["--runs", str(world / "runs"), "--into", str(world / "refused")]
    assert main(_words(world, "family", *family, "--without-fold", "0")) == 1


def test_training_cases_are_inherited_over_two_generations(world: Path, tmp_path: Path) -> None:
    """A student whose teacher is a student inherits the cases of the first teacher."""
    soft = ["--soft", str(world / "runs" / "soft"), "--without-fold", "0"]
    assert _distill(world, "first", *soft) == 0
    first = ["--size", "small", "--run", str(world / "first"), "--soft", str(tmp_path / "soft")]
    assert main(_words(world, "soften", *first)) == 0
    assert set(json.loads((tmp_path / "soft" / TRAINING_CASES).read_text(encoding="utf-8"))) == ALL


def test_a_student_whose_teacher_used_a_test_case_is_not_released(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    splits = world / "balls" / "splits.json"
    before = splits.read_text(encoding="utf-8")
    now = {"train": ["ball_1", "ball_2", "ball_3"], "val": ["ball_0", "ball_4", "ball_5"]}
    splits.write_text(json.dumps(now), encoding="utf-8")
    try:
        teacher = ["--size", "teacher", "--run", str(tmp_path / "teacher")]
        assert main(_words(world, "train", *teacher)) == 0
        student = ["--size", "small", "--run", str(tmp_path / "small")]
        soft = ["--soft", str(world / "runs" / "soft")]
        assert main(_words(world, "distill", *student, *soft)) == 0
        (tmp_path / "notice.txt").write_text("made by the tests", encoding="utf-8")
        image = world / "balls" / "images" / "ball_0.nii.gz"
        words = ["release", str(world / "recipe.yaml"), "--data", str(world / "balls")]
        words += ["--runs", str(tmp_path), "--version", "0.1", "--models", str(tmp_path / "models")]
        words += ["--reference-image", str(image), "--notice", str(tmp_path / "notice.txt")]
        assert main(words) == 1
    finally:
        splits.write_text(before, encoding="utf-8")
    error = capsys.readouterr().err
    assert "was trained on test case ball_0" in error


def test_soft_targets_without_a_list_of_cases_are_refused(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in (world / "runs" / "soft").glob("*.npy"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    assert _distill(world, "unlisted", "--soft", str(tmp_path)) == 1
    assert TRAINING_CASES in capsys.readouterr().err
    assert not (world / "unlisted").exists()
