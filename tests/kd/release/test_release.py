"""plan, teach, distill, validate, release: the whole way to a package, on a few phantoms."""

import csv
import json
import re
import shutil
from pathlib import Path

import msgspec
import numpy as np
import pytest

from kd.commands import main
from kd.data.cases import read_pairs
from kd.evaluation.held_out import held_out
from kd.records import HeldOut, Report, read_report
from node.errors import BadPackage
from node.imaging import Volume
from node.imaging.nifti import read_labels, write
from node.package import load
from node.pipeline import reference_dice
from tests.support.kd_phantoms import recipe
from tests.support.kd_released import OTHER, TWICE, package_of, release_words

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


def test_the_node_loads_it_and_reproduces_its_reference_case(world: Path) -> None:
    package = load(package_of(world))
    assert list(package.manifest.sizes) == ["teacher", "small"]
    for size, measured in package.manifest.sizes.items():
        assert reference_dice(package, size, threads=1) >= package.manifest.reference.least_dice
        assert measured.peak_mb is not None


def report_of(world: Path) -> Report:
    return read_report(package_of(world) / "report.json")


def text_of(world: Path, name: str = "validation.md") -> str:
    return (package_of(world) / name).read_text(encoding="utf-8")


def test_the_report_covers_every_size_and_compared_run(world: Path) -> None:
    report = report_of(world)
    assert (report.task, report.version, report.cases) == ("two-balls", "0.1", 2)
    for size in report.sizes.values():
        for one in (size.dice, size.nsd, size.hd95_mm):
            assert one.ci[0] <= one.mean <= one.ci[1]
            assert set(one.per_structure) == {"Bright ball", "Dark ball"}
        assert size.export is not None
        assert size.export.largest_difference < 1e-2
        assert size.cost is not None
        assert size.cost.seconds > 0
        assert size.cost.peak_mb > 0
        assert size.against_teacher is not None
        assert size.against_teacher.retention.mean > 0
    baseline = report.compared["baseline"]
    assert baseline.training.distilled is False
    assert set(baseline.volume_ml) == {"Bright ball", "Dark ball"}
    (pair,) = report.baselines
    assert (pair.distilled, pair.baseline) == ("small", "baseline")
    gap = report.sizes["small"].dice.mean - baseline.dice.mean
    assert pair.dice.mean == pytest.approx(gap)
    assert report.ensemble is not None
    assert [fold.steps for fold in report.ensemble.folds] == [12, 12]
    small = report.sizes["small"].training
    assert small is not None
    assert small.distilled


def test_external_cases_are_reported_too(world: Path) -> None:
    report = report_of(world)
    (other,) = report.external
    assert (other.name, other.cases, other.subjects) == ("Another scanner", 3, 2)
    assert other.structures == ("Bright ball",)
    for size in other.sizes.values():
        assert list(size.dice.per_structure) == ["Bright ball"]
        assert size.against_teacher is not None
    away = report.compared["baseline"].external["Another scanner"]
    gap = other.sizes["small"].dice.mean - away.dice.mean
    assert away.released_minus_this.mean == pytest.approx(gap)
    text = text_of(world)
    assert "### Another scanner: 3 cases of 2 subjects" in text
    assert OTHER["note"] in text
    assert f"| baseline | small | labels | {away.dice.mean:.4f}" in text


def test_images_without_reference_labels_are_reported_too(world: Path) -> None:
    (images,) = report_of(world).unlabelled
    assert (images.name, images.cases) == (TWICE["name"], 3)
    assert images.sizes["teacher"].like_teacher is None
    like_teacher = images.sizes["small"].like_teacher
    assert like_teacher is not None
    assert 0 <= like_teacher.mean <= 1
    assert "### The same people: 3 images of 2 subjects" in text_of(world)


def test_external_images_must_be_in_the_folder_given(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = release_words(world, "0.9")
    at = words.index("--external")
    assert main([*words[:at], *words[at + 2 :]]) == 1
    assert "--external" in capsys.readouterr().err
    words[at + 1] = str(tmp_path)
    assert main(words) == 1
    assert "Another scanner: other/images has no image" in capsys.readouterr().err


def test_single_cases_of_every_run_are_in_the_table(world: Path) -> None:
    report = report_of(world)
    with (package_of(world) / "cases.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for run in (*report.sizes, *report.compared):
        mine = [float(row["dice"]) for row in rows if row["run"] == run]
        assert len(mine) == 2 * 2, "two cases of two structures"
        assert sum(mine) / 4 == pytest.approx(report.accuracy_of(run).dice.mean, abs=1e-5)


def test_a_package_names_no_case_unless_names_are_public(world: Path) -> None:
    with (package_of(world) / "cases.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["case"] for row in rows} == {"case-001", "case-002"}
    assert {row["subject"] for row in rows} == {"subject-001", "subject-002"}
    text = text_of(world, "manifest.json")
    names = text.replace("ball_0.nii.gz", "")  # the reference image, which a person chose
    assert "ball_" not in names
    assert "somebody" not in names


def test_the_card_is_one_screen_that_leads_with_the_external_set(world: Path) -> None:
    text = text_of(world, "card.md")
    assert len(text.splitlines()) <= 60
    assert text.index("## Limits") < text.index("## Accuracy")
    assert "Another scanner, 3 cases of 2 subjects" in text
    assert "2 held-out cases" in text
    assert "Released without gates" in text
    shown = set(re.findall(r"\]\(([^)]+)\)", text))
    assert shown == {"plots/reference.png", "validation.md"}
    for name in shown:
        assert (package_of(world) / name).is_file()


def test_the_validation_page_has_every_table_picture_and_command(world: Path) -> None:
    text = text_of(world)
    assert "Distilled: teacher, small. Their teacher is an ensemble of 2 networks" in text
    assert "| baseline | small | labels | 1 | 12 |" in text
    assert "kd teach recipe.yaml --data DATA --steps 12 --runs RUNS" in text
    assert "kd train recipe.yaml --data DATA --steps 12 --size small --run RUNS/small-alone" in text
    for title in ("External validation", "Effect of distillation", "Structures", "Training"):
        assert f"## {title}\n" in text
    assert "| too few subjects |" in text, "two test cases have no interval"
    assert re.search(r"\| 1 \| 12 \| \d+\.\d / \d+\.\d \|", text), "minutes of both runs"
    for name in ("accuracy", "differences"):
        assert "<svg" in text_of(world, f"plots/{name}.svg")


def test_a_package_holds_no_path_of_this_machine(world: Path) -> None:
    for path in package_of(world).rglob("*"):
        if path.is_file():
            assert str(world).encode() not in path.read_bytes(), path


def test_the_pages_can_be_written_again_from_the_folder_alone(world: Path, tmp_path: Path) -> None:
    copy = tmp_path / "two-balls" / "0.1"
    shutil.copytree(package_of(world), copy)
    before = {p: p.read_bytes() for p in copy.rglob("*") if p.is_file()}
    assert main(["card", str(copy)]) == 0
    assert {p: p.read_bytes() for p in copy.rglob("*") if p.is_file()} == before
    edited = json.loads((copy / "report.json").read_text(encoding="utf-8"))
    (copy / "report.json").write_text(json.dumps(edited | {"format": 9}), encoding="utf-8")
    assert main(["card", str(copy)]) == 1, "an altered package gets no new digests"


def test_validate_finds_what_the_manifest_says(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["validate", str(package_of(world)), "--data", str(world / "balls"), "--json"]
    assert main([*words, "--out", str(tmp_path / "out")]) == 0
    sizes = json.loads(capsys.readouterr().out)["sizes"]
    for size, metrics in load(package_of(world)).manifest.metrics.items():
        assert sizes[size]["dice"]["mean"] == pytest.approx(metrics.dice.mean, abs=1e-3)
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"report.json", "cases.csv", "accuracy.svg", "differences.svg"} <= names
    page = (tmp_path / "out" / "validation.md").read_text(encoding="utf-8")
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
    assert report["held_out"] == {"used": 4, "held_out": 2, "unknown": 0}


def test_a_renamed_training_image_is_recognised(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """ball_1 is a training case, ball_5 a test case of the package."""
    for kind in ("images", "labels"):
        (tmp_path / kind).mkdir()
        for name, other in (("ball_1", "patient_a"), ("ball_5", "patient_b")):
            source = world / "balls" / kind / f"{name}.nii.gz"
            shutil.copy(source, tmp_path / kind / f"{other}.nii.gz")
    words = ["validate", str(package_of(world)), "--size", "small", "--out", str(tmp_path / "out")]
    words += ["--images", str(tmp_path / "images"), "--labels", str(tmp_path / "labels")]
    assert main(words) == 0
    assert "1 of 2 cases were used to train the package" in capsys.readouterr().err
    page = (tmp_path / "out" / "validation.md").read_text(encoding="utf-8")
    assert "1 of 2 cases were used to train the package" in page


def test_a_package_without_a_list_of_its_images_says_so(world: Path) -> None:
    package = load(package_of(world))
    training = {k: v for k, v in package.manifest.provenance.training.items() if k != "images"}
    old = msgspec.structs.replace(package.manifest.provenance, training=training)
    manifest = msgspec.structs.replace(package.manifest, provenance=old)
    pairs = read_pairs(recipe(), world / "balls", ["ball_1", "ball_5"])
    assert held_out(manifest, pairs) == HeldOut(used=0, held_out=0, unknown=2)
    assert held_out(manifest, pairs, ["ball_1"]) == HeldOut(used=1, held_out=1, unknown=0)
    assert "unknown, and they count as used" in held_out(manifest, pairs).sentence


def test_a_test_case_with_the_image_of_a_training_case_is_not_released(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(world / "balls", tmp_path / "balls")
    for kind in ("images", "labels"):
        folder = tmp_path / "balls" / kind
        shutil.copy(folder / "ball_2.nii.gz", folder / "ball_4.nii.gz")
    words = release_words(world, "0.9")
    words[words.index("--data") + 1] = str(tmp_path / "balls")
    assert main(words) == 1
    sentence = "test case ball_4 has the same image as training case ball_2"
    assert sentence in capsys.readouterr().err
    assert not (world / "models" / "two-balls" / "0.9").exists()


def test_validate_scores_only_the_structures_of_a_translated_reference(
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
