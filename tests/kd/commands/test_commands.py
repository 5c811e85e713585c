"""The command line: help, and errors as one sentence with an exit code."""

import re
from pathlib import Path

import pytest

from kd.commands import main
from tests.support.kd_phantoms import data_set, write_recipe

COMMANDS = [
    "plan",
    "import",
    "distil-nnunet",
    "train",
    "teach",
    "soften",
    "distill",
    "score",
    "validate",
    "release",
    "card",
]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main([command, "--help"])
    assert stop.value.code == 0
    assert "usage: kd" in capsys.readouterr().out


def test_errors_are_one_sentence_and_an_exit_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", str(tmp_path / "none.yaml"), "--data", str(tmp_path)]
    assert main([*words, "--size", "small", "--run", str(tmp_path)]) == 1
    assert "none.yaml" in capsys.readouterr().err


@pytest.mark.slow
def test_a_folder_that_cannot_be_made_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = data_set(tmp_path / "balls", 2, 1)
    recipe = write_recipe(tmp_path / "recipe.yaml")
    words = ["train", str(recipe), "--data", str(data), "--size", "small", "--device", "cpu"]
    assert main([*words, "--run", str(recipe / "run")]) == 1
    assert "recipe.yaml" in capsys.readouterr().err


@pytest.mark.slow
def test_a_training_begins_with_a_line_about_itself(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = data_set(tmp_path / "balls", 4, 1)
    words = ["train", str(write_recipe(tmp_path / "r.yaml")), "--data", str(data), "--size"]
    words += ["small", "--run", str(tmp_path / "run"), "--device", "cpu"]
    assert main([*words, "--steps", "2"]) == 0
    first = capsys.readouterr().err.splitlines()[0]
    line = r"run: cpu, \d+ threads?, 4 cases, labels, 0\.00 M parameters, 2 steps, about \d+ s left"
    assert re.fullmatch(line, first), first
    words[words.index("--run") + 1] = str(tmp_path / "other")
    assert main([*words, "--minutes", "0.02"]) == 0
    assert "0.02 minutes, about 1 s left" in capsys.readouterr().err


def test_messages_name_the_folder_that_is_typed_as_a_dot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "heads").mkdir()
    monkeypatch.chdir(tmp_path / "heads")
    words = ["--task", "heads-ct", "--modality", "CT", "--out", "recipe.yaml"]
    assert main(["plan", ".", *words]) == 1
    assert "heads" in capsys.readouterr().err
