"""plan, teach, distill, validate, release: the whole road, on a handful of phantoms."""

import csv
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from kd.commands import main
from kd.release.card import inherited, taught
from node.errors import BadPackage
from node.imaging import Volume
from node.imaging.nifti import read_labels, write
from node.package import load
from node.pipeline import reference_dice
from tests.support.kd_phantoms import data_set, write_recipe
from tests.support.kd_released import OTHER, TWICE, make_world, package_of, release_words


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_world(tmp_path_factory.mktemp("release"))


def test_the_node_loads_it_and_its_reference_case_comes_out(world: Path) -> None:
    package = load(package_of(world))
    assert list(package.manifest.sizes) == ["teacher", "small"]
    for size, said in package.manifest.sizes.items():
        assert reference_dice(package, size, threads=1) >= package.manifest.reference.least_dice
        assert said.peak_mb is not None


def test_the_report_has_the_one_shape(world: Path) -> None:
    report = json.loads((package_of(world) / "report.json").read_text(encoding="utf-8"))
    assert (report["task"], report["version"], report["cases"]) == ("two-balls", "0.1", 2)
    for found in report["sizes"].values():
        for measure in ("dice", "nsd", "hd95_mm"):
            assert found[measure]["ci"][0] <= found[measure]["mean"] <= found[measure]["ci"][1]
            assert set(found[measure]["per_structure"]) == {"Bright ball", "Dark ball"}
        assert found["export"]["largest_difference"] < 1e-2
        assert found["seconds"] > 0
        assert found["peak_mb"] > 0
    assert report["sizes"]["small"]["training"]["distilled"] is True
    assert report["sizes"]["small"]["retention"]["mean"] > 0
    assert report["sizes"]["teacher"]["retention"]["mean"] == 1
    twin = report["compared"]["undistilled"]
    assert twin["training"]["distilled"] is False
    assert set(twin["volume_ml"]) == {"Bright ball", "Dark ball"}
    (pair,) = report["twins"]
    assert (pair["distilled"], pair["undistilled"]) == ("small", "undistilled")
    gap = report["sizes"]["small"]["dice"]["mean"] - twin["dice"]["mean"]
    assert pair["dice"]["mean"] == pytest.approx(gap)
    assert [fold["steps"] for fold in report["ensemble"]["folds"]] == [12, 12]


def test_cases_of_another_source_are_reported_too(world: Path) -> None:
    report = json.loads((package_of(world) / "report.json").read_text(encoding="utf-8"))
    (other,) = report["elsewhere"]
    assert (other["name"], other["cases"], other["structures"]) == (
        "Another scanner",
        3,
        ["Bright ball"],
    )
    for size in ("teacher", "small"):
        assert list(other["sizes"][size]["dice"]["per_structure"]) == ["Bright ball"]
        assert other["sizes"][size]["retention"]["mean"] > 0
    text = (package_of(world) / "card.md").read_text(encoding="utf-8")
    assert "### Another scanner: 3 cases of 2 subjects" in text
    assert OTHER["note"] in text
    away = report["compared"]["undistilled"]["elsewhere"]["Another scanner"]
    assert list(away["dice"]["per_structure"]) == ["Bright ball"]
    gap = other["sizes"]["small"]["dice"]["mean"] - away["dice"]["mean"]
    assert away["released_minus_this"]["mean"] == pytest.approx(gap)
    assert f"| undistilled | small | labels | {away['dice']['mean']:.4f}" in text


def test_images_without_a_reference_are_reported_too(world: Path) -> None:
    report = json.loads((package_of(world) / "report.json").read_text(encoding="utf-8"))
    (found,) = report["unlabelled"]
    assert (found["name"], found["cases"]) == (TWICE["name"], 3)
    assert "like_teacher" not in found["sizes"]["teacher"]
    assert 0 <= found["sizes"]["small"]["like_teacher"]["mean"] <= 1
    text = (package_of(world) / "card.md").read_text(encoding="utf-8")
    assert "### The same people: 3 images of 2 subjects" in text
    assert "* small: 0 refused for their volumes; Dice with the teacher " in text


def test_other_sources_must_be_where_they_are_said_to_be(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = release_words(world, "0.9")
    at = words.index("--external")
    assert main([*words[:at], *words[at + 2 :]]) == 1
    assert "--external" in capsys.readouterr().err
    words[at + 1] = str(tmp_path)
    assert main(words) == 1
    assert "Another scanner: other/images has no image" in capsys.readouterr().err


def test_single_cases_of_every_run_are_there(world: Path) -> None:
    report = json.loads((package_of(world) / "report.json").read_text(encoding="utf-8"))
    with (package_of(world) / "cases.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for run, said in (report["sizes"] | report["compared"]).items():
        mine = [float(row["dice"]) for row in rows if row["run"] == run]
        assert len(mine) == 2 * 2, "two cases of two structures"
        assert sum(mine) / 4 == pytest.approx(said["dice"]["mean"], abs=1e-5)


def test_card_and_plots_are_made_from_the_numbers(world: Path) -> None:
    text = (package_of(world) / "card.md").read_text(encoding="utf-8")
    assert "Distilled: teacher, small. Their teacher is an ensemble of 2 networks" in text
    assert "| undistilled | small | labels | 1 | 12 |" in text
    assert "kd teach recipe.yaml --data DATA --steps 12 --runs RUNS" in text
    assert "kd train recipe.yaml --data DATA --steps 12 --size small --run RUNS/small-alone" in text
    assert "Bland-Altman" in text
    assert str(world) not in text, "a path of this machine"
    assert "not inferior in |" in text
    assert "too few subjects to tell |" in text, "two test cases have no interval"
    assert "On 2 held-out cases of the same source" in text
    assert "means; an interval takes 5 subjects, so there is none" in text
    assert "What distillation is worth" in text
    assert re.search(r"\| 1 \| 12 \| \d+\.\d / \d+\.\d \|", text), "minutes of a run and its twin"
    for name in ("accuracy", "differences"):
        drawn = (package_of(world) / "plots" / f"{name}.svg").read_text(encoding="utf-8")
        assert "<svg" in drawn


def test_a_card_says_whether_the_teacher_has_seen_the_cases() -> None:
    one = {"steps": 12, "seconds": 90.0}
    numbers = {
        "sizes": {"small": {"training": {"distilled": True}}},
        "ensemble": {"size": "teacher", "folds": [one]},
    }
    assert "one network of size teacher (12 steps in 2 minutes) that has seen" in taught(numbers)
    numbers["ensemble"] = {"size": "teacher", "folds": [one, one]}
    assert "an ensemble of 2 networks of size teacher" in taught(numbers)


def test_a_card_says_which_sizes_inherit() -> None:
    plain, heir = ({"training": {"inherits": digest}} for digest in (None, "ab"))
    assert inherited({"sizes": {"teacher": plain, "fast": plain}}) == []
    (said,) = inherited({"sizes": {"teacher": plain, "small": heir, "tiny": heir}})
    assert "strongest channels" in said
    assert "small, tiny" in said


def test_validate_finds_what_the_manifest_says(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["validate", str(package_of(world)), "--data", str(world / "balls"), "--json"]
    assert main([*words, "--out", str(tmp_path / "out")]) == 0
    found = json.loads(capsys.readouterr().out)["sizes"]
    for size, metrics in load(package_of(world)).manifest.metrics.items():
        assert found[size]["dice"]["mean"] == pytest.approx(metrics.dice.mean, abs=1e-3)
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"report.json", "cases.csv", "accuracy.svg", "differences.svg"} <= names
    page = (tmp_path / "out" / "card.md").read_text(encoding="utf-8")
    shown = set(re.findall(r"\]\(([^)]+)\)", page))
    assert shown == {name for name in names if name.endswith((".svg", ".png"))}
    assert any(name.startswith("worst_small_ball_") for name in names)


def test_validate_takes_a_hospitals_own_folders(
    world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = ["--images", str(world / "balls/images"), "--labels", str(world / "balls/labels")]
    words = ["validate", str(package_of(world)), *folders, "--size", "small", "--json"]
    assert main(words) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["cases"] == 6
    assert list(report["sizes"]) == ["small"]


def test_validate_judges_only_what_a_reference_in_other_numbers_knows(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same labels, ball 1 called 1001 and ball 2 not judged: ball 1 scores as before."""
    (tmp_path / "labels").mkdir()
    for path in sorted((world / "balls/labels").iterdir()):
        labels = read_labels(path)
        renamed = np.array([0, 1001, 7], np.float32)[labels.array]
        write(Volume(renamed, labels.grid), tmp_path / "labels" / path.name)
    (tmp_path / "ids.csv").write_text("id,segment\n1001,1\n7,\n", encoding="utf-8")
    words = ["validate", str(package_of(world)), "--images", str(world / "balls/images")]
    words += ["--size", "small", "--json"]
    assert main([*words, "--labels", str(world / "balls/labels")]) == 0
    plain = json.loads(capsys.readouterr().out)["sizes"]["small"]["dice"]["per_structure"]
    assert (
        main([*words, "--labels", str(tmp_path / "labels"), "--ids", str(tmp_path / "ids.csv")])
        == 0
    )
    judged = json.loads(capsys.readouterr().out)["sizes"]["small"]["dice"]["per_structure"]
    assert list(judged) == ["Bright ball"]
    # voxels of ball 2 no longer count against ball 1
    assert judged["Bright ball"]["mean"] >= plain["Bright ball"]["mean"] > 0


def test_any_flipped_byte_is_refused(world: Path, tmp_path: Path) -> None:
    copy = tmp_path / "two-balls" / "0.1"
    shutil.copytree(package_of(world), copy)
    path = copy / "small.onnx"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(BadPackage, match=r"small\.onnx was altered"):
        load(copy)


def test_a_release_is_never_overwritten(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (package_of(world) / "manifest.json").read_bytes()
    assert main(release_words(world, "0.1")) == 1
    assert "immutable" in capsys.readouterr().err
    assert (package_of(world) / "manifest.json").read_bytes() == before


COMMANDS = ["plan", "import", "train", "teach", "soften", "distill", "score", "validate", "release"]


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


def test_a_folder_that_cannot_be_made_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = data_set(tmp_path / "balls", 2, 1)
    recipe = write_recipe(tmp_path / "recipe.yaml")
    words = ["train", str(recipe), "--data", str(data), "--size", "small", "--device", "cpu"]
    assert main([*words, "--run", str(recipe / "run")]) == 1
    assert "recipe.yaml" in capsys.readouterr().err
