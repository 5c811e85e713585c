"""`kd distil-nnunet`: from a results folder to a package that the node loads, in several calls."""

import json
import re
import shutil
from pathlib import Path

import pytest
import yaml

from kd.commands import main
from node.package import load
from node.pipeline import reference_dice
from tests.support.kd_nnunet import RESULTS, raw_phantoms, trained_results
from tests.support.kd_training import fill_in


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("distil")
    raw = raw_phantoms(root)
    folds = {"fold_0": ("ball_0", "ball_1", "ball_2"), "fold_1": ("ball_3", "ball_4", "ball_5")}
    trained_results(root, raw, folds)
    image = raw / "imagesTs" / "ball_6_0000.nii.gz"
    (root / "IMAGE.nii.gz").write_bytes(image.read_bytes())
    (root / "NOTICE").write_text("made by the tests", encoding="utf-8")
    return root


def _words(world: Path, *more: str) -> list[str]:
    words = ["distil-nnunet", str(world / RESULTS), "--data", str(world / "Dataset901_Balls")]
    words += ["--task", "balls-mr", "--into", str(world / "balls"), "--device", "cpu"]
    words += ["--steps", "300", "--reference-image", str(world / "IMAGE.nii.gz")]
    return [*words, "--notice", str(world / "NOTICE"), *more]


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_same_command_goes_from_a_results_folder_to_a_package(
    world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It stops when its time is over, when a person must fill in codes, and at the end."""
    recipe = world / "balls" / "recipe.yaml"
    assert main(_words(world, "--slice-minutes", "0")) == 3
    first = capsys.readouterr()
    assert "2 networks imported" in first.err
    assert re.search(r"About \d+ (s|min) left on cpu, and the release after that", first.err)
    assert "segment 1 (bright) has no code" in first.err
    assert "small-baseline" in first.out
    assert not (world / "balls" / "runs" / "soft" / "ball_0.npy").exists()
    assert yaml.safe_load(recipe.read_text(encoding="utf-8"))["sizes"]["small"]["inherits"]

    chosen = yaml.safe_load(recipe.read_text(encoding="utf-8"))
    chosen["training"]["ema"] = 0.9  # so few steps need a short average
    for narrow in ("tiny", "fast"):
        chosen["sizes"].pop(narrow, None)  # and wide networks
        chosen["gates"]["retention"].pop(narrow, None)
    recipe.write_text(yaml.safe_dump(chosen), encoding="utf-8")
    assert main(_words(world)) == 3
    assert "Fill in every '?'" in capsys.readouterr().err
    assert (world / "balls" / "runs" / "small-baseline" / "checkpoint.pt").exists()

    fill_in(recipe)
    assert main(_words(world)) == 0
    package = load(world / "balls" / "models" / "balls-mr" / "1.0")
    assert list(package.manifest.sizes) == ["teacher", "large", "small"]
    for size in package.manifest.sizes:
        assert reference_dice(package, size) == 1.0
    report = json.loads((package.folder / "report.json").read_text(encoding="utf-8"))
    assert report["cases"] == 2
    assert report["sizes"]["teacher"]["dice"]["mean"] > 0.7
    pairs = {(one["distilled"], one["baseline"]) for one in report["baselines"]}
    assert ("small", "small-baseline") in pairs
    for path in package.folder.rglob("*"):
        if path.suffix in (".json", ".md", ".csv"):
            assert str(world) not in path.read_text(encoding="utf-8"), path.name
    capsys.readouterr()
    assert main(_words(world)) == 0
    assert "released already" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ([], "--reference-image and --notice belong together"),
        (["--notice", "N", "--reference-image", "I", "--fold", "7"], "no finished fold_7"),
        (["--task", "other", "--reference-image", "I", "--notice", "N"], "has task taken, not oth"),
    ],
)
def test_a_call_that_cannot_end_well_is_refused_at_once(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], change: list[str],
    complaint: str,
) -> None:  # fmt: skip
    words = ["distil-nnunet", str(world / RESULTS), "--data", str(world / "Dataset901_Balls")]
    words += ["--task", "taken", "--into", str(tmp_path / "into"), "--device", "cpu"]
    if "other" in change:
        assert main([*words, "--slice-minutes", "0"]) == 1  # no average of two structures
        assert "alignment needs 3. Give --reference-image" in capsys.readouterr().err
    assert main([*words, *(change or ["--notice", "N"])]) == 1
    assert complaint in capsys.readouterr().err


def test_without_test_cases_nothing_is_trained(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    raw = tmp_path / "Dataset901_Balls"
    shutil.copytree(world / "Dataset901_Balls", raw)
    shutil.rmtree(raw / "labelsTs")
    words = ["distil-nnunet", str(world / RESULTS), "--data", str(raw), "--task", "balls"]
    assert main([*words, "--into", str(tmp_path / "into"), "--device", "cpu"]) == 1
    assert "There is no test case. Put cases" in capsys.readouterr().err
    assert not (tmp_path / "into" / "recipe.yaml").exists()


def test_the_folder_of_another_nnunet_is_refused(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "nnUNetTrainer_other__nnUNetPlans__3d_fullres"
    shutil.copytree(world / RESULTS, other)
    into = ["--into", str(tmp_path / "into"), "--device", "cpu", "--slice-minutes", "0"]
    tail = ["--data", str(world / "Dataset901_Balls"), "--task", "balls", *into]
    assert main(["distil-nnunet", str(world / RESULTS), *tail]) == 1
    capsys.readouterr()
    assert main(["distil-nnunet", str(other), *tail]) == 1
    assert "is of another nnU-Net" in capsys.readouterr().err
