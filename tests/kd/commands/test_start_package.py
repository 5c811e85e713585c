"""`--start PACKAGE`: the networks of a released package begin a new training."""

import json
from pathlib import Path

import pytest
import yaml

from kd.commands import main
from kd.data.content import contents_of, name_of_content
from kd.networks.package_weights import released_weights
from kd.recipe.sources import Data
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
@pytest.mark.timeout(1800)
def test_a_package_without_names_knows_its_training_images(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In another data set ball_1 has another name, and ball_3 is not there."""
    chosen = yaml.safe_load((world / "recipe.yaml").read_text(encoding="utf-8"))
    chosen["data"] |= {"public_names": False, "cases": {}}
    (world / "hidden.yaml").write_text(yaml.safe_dump(chosen), encoding="utf-8")
    words = ["release", str(world / "hidden.yaml"), "--data", str(world / "balls")]
    words += ["--runs", str(world / "runs"), "--version", "0.2", "--models", str(world / "models")]
    words += ["--reference-image", str(world / "balls" / "images" / "ball_0.nii.gz")]
    assert main([*words, "--notice", str(world / "notice.txt")]) == 0
    package = world / "models" / "two-balls" / "0.2"
    assert "ball_1" not in (package / "manifest.json").read_text(encoding="utf-8")

    other = data_set(tmp_path / "other", 3, 2)
    for kind in ("images", "labels"):
        (other / kind / "ball_1.nii.gz").rename(other / kind / "patient.nii.gz")
    names = ["ball_0", "patient", "ball_2"]
    content = {"train": names, "val": ["ball_4"]}
    (other / "splits.json").write_text(json.dumps(content), encoding="utf-8")
    words = ["train", str(world / "hidden.yaml"), "--data", str(other), *BUDGET]
    words += ["--size", "teacher", "--run", str(tmp_path / "new" / "longer")]
    assert main([*words, "--start", str(package)]) == 0
    used = read_record(tmp_path / "new" / "longer").cases_used
    (ball_3,) = contents_of(Data(), world / "balls", ["ball_3"]).values()
    assert used == {*names, name_of_content(ball_3)}

    content["val"] = ["ball_3"]  # the package was trained on it
    (other / "splits.json").write_text(json.dumps(content), encoding="utf-8")
    runs = tmp_path / "new"
    (runs / "longer").rename(runs / "teacher")
    words = ["release", str(world / "hidden.yaml"), "--data", str(other), "--runs", str(runs)]
    words += ["--version", "0.3", "--models", str(world / "models")]
    words += ["--reference-image", str(other / "images" / "ball_0.nii.gz")]
    capsys.readouterr()
    assert main([*words, "--notice", str(world / "notice.txt")]) == 1
    assert "ball_3 has the same image as training case sha256:" in capsys.readouterr().err


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
