"""Requirements on the runs of a release."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml

from kd.commands import main
from kd.recipe.read import read_recipe
from node.imaging import Labels, Volume
from node.package import load
from tests.support.kd_released import BUDGET, package_of, release_words

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


def _other(world: Path, name: str, **changes: object) -> str:
    """Write the recipe with other choices; return its name."""
    chosen = yaml.safe_load((world / "recipe.yaml").read_text(encoding="utf-8"))
    (world / name).write_text(yaml.safe_dump(chosen | changes), encoding="utf-8")
    return name


def _refused(world: Path, recipe: str, capsys: pytest.CaptureFixture[str]) -> str:
    """Try to release; return the complaint."""
    assert main(release_words(world, "0.9", recipe)) == 1
    assert not (world / "models" / "two-balls" / "0.9").exists()
    return capsys.readouterr().err


def test_the_released_teacher_may_be_the_ensemble_in_one_file(world: Path) -> None:
    other = _other(world, "ensemble.yaml", released_teacher="ensemble")
    assert main(release_words(world, "0.4", other)) == 0
    package = load(world / "models" / "two-balls" / "0.4")
    single = load(package_of(world)).manifest.sizes["teacher"]
    whole = package.manifest.sizes["teacher"]
    assert (whole.parameters, whole.macs_per_patch) == (
        2 * single.parameters,
        2 * single.macs_per_patch,
    )
    text = (package.folder / "validation.md").read_text(encoding="utf-8")
    assert "* teacher: 2 networks, together 24 steps" in text
    assert "The package's teacher is that ensemble" in text


def test_an_ensemble_of_another_size_is_no_teacher(
    world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = _other(world, "mixed.yaml", released_teacher="ensemble", fold_size="small")
    assert "is made of networks of size teacher" in _refused(world, other, capsys)


def test_folds_may_be_trained_side_by_side(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["teach", str(world / "recipe.yaml"), "--data", str(world / "balls"), *BUDGET]
    words += ["--runs", str(tmp_path)]
    assert main([*words, "--fold", "2"]) == 1
    assert "there is no fold 2" in capsys.readouterr().err
    assert main([*words, "--fold", "1"]) == 0
    assert not (tmp_path / "soft").exists()
    alone = torch.load(tmp_path / "teacher_1" / "checkpoint.pt", weights_only=True)["averaged"]
    among = torch.load(world / "runs/teacher_1/checkpoint.pt", weights_only=True)["averaged"]
    assert all(torch.equal(alone[name], among[name]) for name in among)


def test_runs_of_another_recipe_are_not_released(
    world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = _other(world, "other.yaml", intensity=[{"step": "to_unit_range"}])
    assert "run teacher was trained with another intensity" in _refused(world, other, capsys)


def test_a_run_trained_on_a_test_case_is_not_released(
    world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    splits = world / "balls" / "splits.json"
    before = splits.read_text(encoding="utf-8")
    swapped = json.loads(before)
    swapped["train"][0], swapped["val"][0] = swapped["val"][0], swapped["train"][0]
    splits.write_text(json.dumps(swapped), encoding="utf-8")
    try:
        assert "was trained on test case ball_0" in _refused(world, "recipe.yaml", capsys)
    finally:
        splits.write_text(before, encoding="utf-8")


def test_an_unfinished_run_is_not_released(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "begun"
    words = ["train", str(world / "recipe.yaml"), "--data", str(world / "balls"), *BUDGET]
    words += ["--size", "small", "--run", str(run), "--slice-minutes", "0"]
    assert main(words) == 3
    words = [*release_words(world, "0.9"), "--compare", f"begun=small:{run}"]
    assert main(words) == 1
    assert "run begun stopped at step 0" in capsys.readouterr().err


def test_a_compared_run_takes_no_name_of_a_released_one(
    world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [*release_words(world, "0.9"), "--compare", f"teacher=small:{world / 'runs' / 'small'}"]
    assert main(words) == 1
    assert "--compare teacher:" in capsys.readouterr().err


def test_a_recipe_without_an_intended_use_is_not_released(
    world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = _other(world, "silent.yaml", intended_use="?")
    assert "has no intended_use" in _refused(world, other, capsys)


def test_a_gate_that_does_not_hold_stops_the_release(
    world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chosen = yaml.safe_load((world / "recipe.yaml").read_text(encoding="utf-8"))
    chosen["gates"] = {"dice": {"small": 0.999}}
    (world / "strict.yaml").write_text(yaml.safe_dump(chosen), encoding="utf-8")
    assert main(release_words(world, "0.2", "strict.yaml")) == 1
    assert "mean Dice is" in capsys.readouterr().err
    assert not (world / "models" / "two-balls" / "0.2").exists()


def test_a_gate_on_an_external_set_stops_the_release(
    world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = _other(world, "away.yaml", gates={"external": {"Another scanner": {"small": 9.0}}})
    assert "small: retention on Another scanner is" in _refused(world, other, capsys)


@pytest.mark.parametrize(("detected", "absent"), [(0, "Bright ball, Dark ball"), (1, "Dark ball")])
def test_a_size_that_misses_a_structure_of_the_reference_image_is_not_released(
    world: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    detected: int,
    absent: str,
) -> None:
    def same(image: Volume, *_: object) -> SimpleNamespace:
        return SimpleNamespace(
            labels=Labels(np.full(image.grid.shape, detected, np.uint8), image.grid)
        )

    monkeypatch.setattr("kd.release.release.segment", same)
    assert f"size teacher does not detect {absent} in" in _refused(world, "recipe.yaml", capsys)


def test_a_package_that_is_too_large_is_refused_before_it_is_measured(
    world: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object, **__: object) -> None:
        pytest.fail("measured")

    monkeypatch.setattr("kd.release.release.score_all", never)
    text = (world / "recipe.yaml").read_text(encoding="utf-8")
    limited = world / "limited.yaml"
    limited.write_text(text + "largest_package_mb: 0.001\n", encoding="utf-8")
    assert "largest_package_mb: 0.001" in _refused(world, "limited.yaml", capsys)


def test_a_segment_without_a_code_is_not_released(
    world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    planned = world / "planned.yaml"
    words = ["plan", str(world / "balls"), "--task", "two-balls", "--modality", "MR"]
    assert main([*words, "--out", str(planned)]) == 0
    recipe = read_recipe(planned)
    assert list(recipe.sizes) == ["teacher", "large", "small", "tiny", "fast"]
    for size in recipe.sizes:
        recipe.topology(size)
    answers = {
        "title": "Two balls",
        "intended_use": "Tests.",
        "data": {"source": "x", "licence": "y"},
    }
    chosen = yaml.safe_load(planned.read_text(encoding="utf-8"))
    chosen["data"] |= answers.pop("data")
    planned.write_text(yaml.safe_dump(chosen | answers), encoding="utf-8")
    capsys.readouterr()
    assert main(release_words(world, "0.3", "planned.yaml")) == 1
    assert "has no code" in capsys.readouterr().err


def test_soft_targets_of_other_cases_are_missed_by_name(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = [str(world / "recipe.yaml"), "--data", str(world / "balls"), *BUDGET]
    run = ["--size", "small", "--run", str(tmp_path / "run"), "--runs", str(tmp_path)]
    assert main(["distill", *common, *run]) == 1
    assert "case ball_0 has no readable soft target" in capsys.readouterr().err


def test_a_student_may_teach_a_smaller_one(world: Path, tmp_path: Path) -> None:
    common = [str(world / "recipe.yaml"), "--data", str(world / "balls")]
    soft = ["--size", "small", "--soft", str(tmp_path / "soft")]
    assert main(["soften", *common, *soft, "--run", str(world / "runs" / "small")]) == 0
    assert len(list((tmp_path / "soft").glob("*.npy"))) == 4
    assert main(["distill", *common, *BUDGET, *soft, "--run", str(tmp_path / "run")]) == 0
