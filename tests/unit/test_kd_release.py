"""plan, teach, distill, validate, release: the whole road, on a handful of phantoms."""

import csv
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from kd.commands import main
from kd.recipe import read_recipe
from node.errors import BadPackage
from node.imaging import Volume
from node.imaging.nifti import read_labels, write
from node.package import load
from node.pipeline import golden_dice
from tests.kd_phantoms import data_set, write_recipe

OTHER = {
    "name": "Another scanner",
    "images": "other/images",
    "labels": "other/labels",
    "ids": "ids.csv",
    "note": "Only the bright ball is known there.",
}
BUDGET = ["--steps", "12", "--device", "cpu"]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set, a taught and distilled family, an undistilled twin, and the released package."""
    root = tmp_path_factory.mktemp("release")
    data_set(root / "balls", 4, 2)
    data_set(root / "other", 2, 1)
    (root / "ids.csv").write_text("id,segment\n1,1\n2,\n", encoding="utf-8")
    recipe = yaml.safe_load(write_recipe(root / "recipe.yaml").read_text(encoding="utf-8"))
    recipe["elsewhere"] = [OTHER]
    (root / "recipe.yaml").write_text(yaml.safe_dump(recipe), encoding="utf-8")
    (root / "notice.txt").write_text("drawn by the tests", encoding="utf-8")
    common = [str(root / "recipe.yaml"), "--data", str(root / "balls"), *BUDGET]
    runs = ["--runs", str(root / "runs")]
    assert main(["teach", *common, *runs]) == 0
    for size in ("teacher", "small"):
        run = ["--size", size, "--run", str(root / "runs" / size)]
        assert main(["distill", *common, *runs, *run]) == 0
    twin = ["--size", "small", "--run", str(root / "runs" / "small-alone")]
    assert main(["train", *common, *twin]) == 0
    assert main(_release(root, "0.1")) == 0
    return root


def _release(root: Path, version: str, recipe: str = "recipe.yaml") -> list[str]:
    words = ["release", str(root / recipe), "--data", str(root / "balls")]
    words += ["--runs", str(root / "runs"), "--version", version]
    words += ["--compare", f"undistilled=small:{root / 'runs' / 'small-alone'}"]
    image = root / "balls" / "images" / "ball_0.nii.gz"
    words += ["--golden", str(image), "--notice", str(root / "notice.txt")]
    return [*words, "--elsewhere", str(root), "--models", str(root / "models")]


def _package(world: Path) -> Path:
    return world / "models" / "two-balls" / "0.1"


def test_the_node_loads_it_and_its_golden_case_comes_out(world: Path) -> None:
    package = load(_package(world))
    assert list(package.manifest.sizes) == ["teacher", "small"]
    for size, said in package.manifest.sizes.items():
        assert golden_dice(package, size, threads=1) >= package.manifest.golden.least_dice
        assert said.peak_mb is not None


def test_the_report_has_the_one_shape(world: Path) -> None:
    report = json.loads((_package(world) / "report.json").read_text(encoding="utf-8"))
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
    report = json.loads((_package(world) / "report.json").read_text(encoding="utf-8"))
    (other,) = report["elsewhere"]
    assert (other["name"], other["cases"], other["structures"]) == (
        "Another scanner",
        3,
        ["Bright ball"],
    )
    for size in ("teacher", "small"):
        assert list(other["sizes"][size]["dice"]["per_structure"]) == ["Bright ball"]
        assert other["sizes"][size]["retention"]["mean"] > 0
    text = (_package(world) / "card.md").read_text(encoding="utf-8")
    assert "### Another scanner: 3 cases" in text
    assert OTHER["note"] in text


def test_other_sources_must_be_where_they_are_said_to_be(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = _release(world, "0.9")
    at = words.index("--elsewhere")
    assert main([*words[:at], *words[at + 2 :]]) == 1
    assert "--elsewhere" in capsys.readouterr().err
    words[at + 1] = str(tmp_path)
    assert main(words) == 1
    assert "Another scanner: other/images has no image" in capsys.readouterr().err


def test_single_cases_of_every_run_are_there(world: Path) -> None:
    report = json.loads((_package(world) / "report.json").read_text(encoding="utf-8"))
    with (_package(world) / "cases.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for run, said in (report["sizes"] | report["compared"]).items():
        mine = [float(row["dice"]) for row in rows if row["run"] == run]
        assert len(mine) == 2 * 2, "two cases of two structures"
        assert sum(mine) / 4 == pytest.approx(said["dice"]["mean"], abs=1e-5)


def test_card_and_plots_are_made_from_the_numbers(world: Path) -> None:
    text = (_package(world) / "card.md").read_text(encoding="utf-8")
    assert "Distilled: teacher, small. Their teacher is an ensemble of 2 networks" in text
    assert "| undistilled | small | labels | 1 | 12 |" in text
    assert "kd teach recipe.yaml --data DATA --steps 12 --runs RUNS" in text
    assert "kd train recipe.yaml --data DATA --steps 12 --size small --run RUNS/small-alone" in text
    assert "Bland-Altman" in text
    assert str(world) not in text, "a path of this machine"
    assert "not inferior in |" in text
    assert "What distillation is worth" in text
    for name in ("accuracy", "differences"):
        drawn = (_package(world) / "plots" / f"{name}.svg").read_text(encoding="utf-8")
        assert "<svg" in drawn


def test_validate_finds_what_the_manifest_says(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["validate", str(_package(world)), "--data", str(world / "balls"), "--json"]
    assert main([*words, "--out", str(tmp_path / "out")]) == 0
    found = json.loads(capsys.readouterr().out)["sizes"]
    for size, metrics in load(_package(world)).manifest.metrics.items():
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
    words = ["validate", str(_package(world)), *folders, "--size", "small", "--json"]
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
    words = ["validate", str(_package(world)), "--images", str(world / "balls/images")]
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
    shutil.copytree(_package(world), copy)
    path = copy / "small.onnx"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(BadPackage, match=r"small\.onnx was altered"):
        load(copy)


def test_a_release_is_never_overwritten(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (_package(world) / "manifest.json").read_bytes()
    assert main(_release(world, "0.1")) == 1
    assert "immutable" in capsys.readouterr().err
    assert (_package(world) / "manifest.json").read_bytes() == before


def _other(world: Path, name: str, **changes: object) -> str:
    """Write the recipe with other choices; return its name."""
    chosen = yaml.safe_load((world / "recipe.yaml").read_text(encoding="utf-8"))
    (world / name).write_text(yaml.safe_dump(chosen | changes), encoding="utf-8")
    return name


def _refused(world: Path, recipe: str, capsys: pytest.CaptureFixture[str]) -> str:
    """Try to release; return the complaint."""
    assert main(_release(world, "0.9", recipe)) == 1
    assert not (world / "models" / "two-balls" / "0.9").exists()
    return capsys.readouterr().err


def test_the_released_teacher_may_be_the_ensemble_in_one_file(world: Path) -> None:
    other = _other(world, "ensemble.yaml", released_teacher="ensemble")
    assert main(_release(world, "0.4", other)) == 0
    package = load(world / "models" / "two-balls" / "0.4")
    single = load(_package(world)).manifest.sizes["teacher"]
    whole = package.manifest.sizes["teacher"]
    assert (whole.parameters, whole.macs_per_patch) == (
        2 * single.parameters,
        2 * single.macs_per_patch,
    )
    text = (package.folder / "card.md").read_text(encoding="utf-8")
    assert "* teacher: 2 networks, together 24 steps" in text
    assert "the package's teacher is that ensemble" in text


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


def test_a_run_that_saw_a_test_case_is_not_released(
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
    words = [*_release(world, "0.9"), "--compare", f"begun=small:{run}"]
    assert main(words) == 1
    assert "run begun stopped at step 0" in capsys.readouterr().err


def test_a_recipe_without_words_is_not_released(
    world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = _other(world, "silent.yaml", intended_use="?")
    assert "says nothing under intended_use" in _refused(world, other, capsys)


def test_a_gate_that_does_not_hold_stops_the_release(
    world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chosen = yaml.safe_load((world / "recipe.yaml").read_text(encoding="utf-8"))
    chosen["gates"] = {"dice": {"small": 0.999}}
    (world / "strict.yaml").write_text(yaml.safe_dump(chosen), encoding="utf-8")
    assert main(_release(world, "0.2", "strict.yaml")) == 1
    assert "mean Dice is" in capsys.readouterr().err
    assert not (world / "models" / "two-balls" / "0.2").exists()


def test_a_segment_without_a_code_is_not_released(
    world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    planned = world / "planned.yaml"
    words = ["plan", str(world / "balls"), "--task", "two-balls", "--modality", "MR"]
    assert main([*words, "--out", str(planned)]) == 0
    recipe = read_recipe(planned)
    assert list(recipe.sizes) == ["teacher", "large", "medium", "small", "tiny"]
    for size in recipe.sizes:
        recipe.topology(size)
    said = {"title": "Two balls", "intended_use": "Tests.", "data": {"source": "x", "licence": "y"}}
    chosen = yaml.safe_load(planned.read_text(encoding="utf-8"))
    chosen["data"] |= said.pop("data")
    planned.write_text(yaml.safe_dump(chosen | said), encoding="utf-8")
    capsys.readouterr()
    assert main(_release(world, "0.3", "planned.yaml")) == 1
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
