"""A run records its command, without the machine it ran on."""

from pathlib import Path

from kd.release.command import note, noted, typed


def test_folders_become_names() -> None:
    words = ["distill", "/home/me/recipe.yaml", "--data", "/scans", "--runs=/work/runs"]
    words += ["--size", "small", "--run", "/work/runs/small-2", "--seed", "2"]
    expected = (
        "kd distill recipe.yaml --data DATA --runs RUNS --size small --run RUNS/small-2 --seed 2"
    )
    assert typed(words) == expected


def test_options_without_effect_are_left_out() -> None:
    words = ["train", "kd/recipes/r.yaml", "--device", "cpu", "--json", "--slice-minutes", "9"]
    assert typed([*words, "--steps", "5"]) == "kd train kd/recipes/r.yaml --steps 5"


def test_compared_runs_keep_their_names() -> None:
    words = ["release", "r.yaml", "--compare", "no teacher=tiny:/work/runs/tiny-alone"]
    expected = "kd release r.yaml --compare 'no teacher=tiny:RUNS/tiny-alone'"
    assert typed(words) == expected


def test_a_note_is_read_back(tmp_path: Path) -> None:
    assert noted(tmp_path / "run") is None
    note(tmp_path / "run", "kd train r.yaml")
    assert noted(tmp_path / "run") == "kd train r.yaml"
