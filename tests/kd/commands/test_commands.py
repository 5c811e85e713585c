"""The command line: help, and errors as one sentence with an exit code."""

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
