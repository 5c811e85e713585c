"""From runs to a package that the node loads; a worse or altered one is refused."""

import json
import shutil
from pathlib import Path

import pytest

from kd.commands import main
from kd.errors import LabError
from node.errors import BadPackage
from node.package import load
from node.pipeline import golden_dice
from tests.kd_phantoms import data_set, recipe, write_recipe

STEPS = "12"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set, a recipe, two trained sizes and their released package."""
    root = tmp_path_factory.mktemp("release")
    data_set(root / "balls", 3, 2)
    write_recipe(root / "recipe.yaml")
    (root / "notice.txt").write_text("drawn by the tests", encoding="utf-8")
    for size in recipe().sizes:
        common = [str(root / "recipe.yaml"), "--data", str(root / "balls"), "--device", "cpu"]
        run = ["--size", size, "--run", str(root / "runs" / size), "--steps", STEPS]
        assert main(["train", *common, *run]) == 0
    assert main(_release(root)) == 0
    return root


def _release(root: Path) -> list[str]:
    words = ["release", str(root / "recipe.yaml"), "--data", str(root / "balls")]
    words += ["--runs", str(root / "runs"), "--version", "0.1", "--models", str(root / "models")]
    image = root / "balls" / "images" / "ball_0.nii.gz"
    return [*words, "--golden", str(image), "--notice", str(root / "notice.txt")]


def _package(world: Path) -> Path:
    return world / "models" / "two-balls" / "0.1"


def test_the_node_loads_it_and_its_golden_case_comes_out(world: Path) -> None:
    package = load(_package(world))
    assert list(package.manifest.sizes) == ["large", "small"]
    for size in package.manifest.sizes:
        assert golden_dice(package, size, threads=1) >= package.manifest.golden.least_dice
        assert package.manifest.sizes[size].peak_mb is not None


def test_the_report_has_the_one_shape(world: Path) -> None:
    report = json.loads((_package(world) / "report.json").read_text(encoding="utf-8"))
    assert (report["task"], report["version"], report["cases"]) == ("two-balls", "0.1", 2)
    for found in report["sizes"].values():
        assert found["dice"]["ci"][0] <= found["dice"]["mean"] <= found["dice"]["ci"][1]
        assert found["export"]["largest_difference"] < 1e-2


def test_evaluate_finds_what_the_manifest_says(
    world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["evaluate", str(_package(world)), str(world / "recipe.yaml")]
    assert main([*words, "--data", str(world / "balls"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    said = load(_package(world)).manifest.metrics
    for size, metrics in said.items():
        assert found[size]["dice"]["mean"] == pytest.approx(metrics.dice.mean, abs=1e-3)


def test_any_flipped_byte_is_refused(world: Path, tmp_path: Path) -> None:
    copy = tmp_path / "two-balls" / "0.1"
    shutil.copytree(_package(world), copy)
    path = copy / "small.onnx"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(BadPackage, match=r"small\.onnx was altered"):
        load(copy)


def test_a_release_is_never_overwritten(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (_package(world) / "manifest.json").read_bytes()
    assert main(_release(world)) == 1
    assert "immutable" in capsys.readouterr().err
    assert (_package(world) / "manifest.json").read_bytes() == before


def test_every_command_has_help(capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("train", "evaluate", "release"):
        with pytest.raises(SystemExit) as stop:
            main([command, "--help"])
        assert stop.value.code == 0
    assert "--size" in capsys.readouterr().out


def test_errors_are_one_sentence_and_an_exit_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", str(tmp_path / "none.yaml"), "--data", str(tmp_path)]
    assert main([*words, "--size", "small", "--run", str(tmp_path)]) == 1
    assert "none.yaml" in capsys.readouterr().err
    assert issubclass(LabError, Exception)
