"""`--start PACKAGE`: the networks of a released package begin a new training."""

import json
from pathlib import Path

import pytest
import yaml

from kd.commands import main
from kd.networks.package_weights import released_weights
from kd.training.checkpoints import read_record
from tests.support.kd_phantoms import data_set, write_recipe

BUDGET = ["--steps", "12", "--device", "cpu"]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a data set and a package whose recipe lists its cases."""
    root = tmp_path_factory.mktemp("start")
    data = data_set(root / "balls", 4, 1)
    recipe = yaml.safe_load(write_recipe(root / "recipe.yaml").read_text(encoding="utf-8"))
    recipe["data"]["cases"] = json.loads((data / "splits.json").read_text(encoding="utf-8"))
    recipe["data"]["public_names"] = True
    recipe |= {"folds": 1}
    recipe["sizes"] = {"teacher": {"base": 8, "norm": "batch"}}
    (root / "recipe.yaml").write_text(yaml.safe_dump(recipe), encoding="utf-8")
    (root / "notice.txt").write_text("made by the tests", encoding="utf-8")
    words = [str(root / "recipe.yaml"), "--data", str(data), "--runs", str(root / "runs")]
    assert main(["teach", *words, *BUDGET]) == 0
    words += ["--version", "0.1", "--models", str(root / "models")]
    words += ["--reference-image", str(data / "images" / "ball_0.nii.gz")]
    assert main(["release", *words, "--notice", str(root / "notice.txt")]) == 0
    return root


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_training_begins_with_the_networks_of_a_package(
    world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    package = world / "models" / "two-balls" / "0.1"
    words = ["train", str(world / "recipe.yaml"), "--data", str(world / "balls"), *BUDGET]
    words += ["--size", "teacher", "--run", str(world / "new" / "longer"), "--seed", "2"]
    assert main([*words, "--start", str(package)]) == 0
    assert "1 networks unpacked into" in capsys.readouterr().err
    record = read_record(world / "new" / "longer")
    assert record.start is not None
    unpacked = world / "new" / "two-balls-0.1" / "teacher_0"
    assert record.start.run == read_record(unpacked)
    assert record.cases_used == {"ball_0", "ball_1", "ball_2", "ball_3"}
    assert len(record.start.weights) == 64, "the digest of the weights that it began with"
    assert released_weights(package / "teacher.onnx")
    assert main([*words, "--start", str(package)]) == 0, "the same command resumes"


@pytest.mark.slow
def test_a_damaged_package_begins_nothing(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    package = tmp_path / "two-balls" / "0.1"
    package.mkdir(parents=True)
    (package / "manifest.json").write_text("{}", encoding="utf-8")
    words = ["train", str(world / "recipe.yaml"), "--data", str(world / "balls"), *BUDGET]
    words += ["--size", "teacher", "--run", str(tmp_path / "run"), "--start", str(package)]
    assert main(words) == 1
    assert "manifest" in capsys.readouterr().err
