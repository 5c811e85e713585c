"""A package with altered, missing, additional or contradictory parts is refused by name."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from node.config import load_text
from node.errors import (
    BadPackage,
    ImplausibleResult,
    Misconfigured,
    OutsideModelRange,
    TooFewSlices,
    WrongModality,
)
from node.imaging import Grid
from node.package import (
    SIZE_NAMES,
    check_input,
    check_result,
    installed,
    load,
    models_in,
    next_smaller,
    resolve,
    smallest,
    uses,
)
from node.package.folder import file_digest
from node.package.manifest import Expected, Range
from tests.support.packages import make_tiny_package


def edit(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    path = folder / "manifest.json"
    content = msgspec.json.decode(path.read_bytes())
    change(content)
    path.write_bytes(msgspec.json.encode(content))


def test_a_written_package_loads(tmp_path: Path) -> None:
    package = make_tiny_package(tmp_path)
    loaded = load(package.folder)
    assert (loaded.name, loaded.digest) == ("tiny-mr/1.0", package.digest)
    assert set(loaded.manifest.files) == {
        p.relative_to(package.folder).as_posix() for p in package.folder.rglob("*.*")
    } - {"manifest.json"}


@pytest.mark.parametrize("name", ["small.onnx", "card.md", "reference/image.nii.gz"])
def test_a_flipped_bit_is_detected(tmp_path: Path, name: str) -> None:
    folder = make_tiny_package(tmp_path).folder
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(content)
    with pytest.raises(BadPackage, match=f"{name} was altered"):
        load(folder)


def test_a_missing_file_is_detected(tmp_path: Path) -> None:
    folder = make_tiny_package(tmp_path).folder
    (folder / "teacher.onnx").unlink()
    with pytest.raises(BadPackage, match=r"teacher\.onnx is missing"):
        load(folder)


def test_an_additional_file_is_detected(tmp_path: Path) -> None:
    folder = make_tiny_package(tmp_path).folder
    (folder / "extra.py").write_text("print()")
    with pytest.raises(BadPackage, match=r"extra\.py"):
        load(folder)


def test_a_link_is_refused(tmp_path: Path) -> None:
    folder = make_tiny_package(tmp_path).folder
    outside = tmp_path / "outside.onnx"
    shutil.move(folder / "small.onnx", outside)
    (folder / "small.onnx").symlink_to(outside)
    with pytest.raises(BadPackage, match=r"small\.onnx is a link"):
        load(folder)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda m: m.update(surprise=1), "unknown key 'surprise'"),
        (lambda m: m.update(format=1, golden=m.pop("reference")), "format is 1"),
        (lambda m: m.update(format=3, novelty=0), "format is 3"),
        (lambda m: m.update(format="2"), "format"),
        (lambda m: m.pop("format"), "format"),
        (lambda m: m["sizes"]["small"].update(macs_per_patch=1 << 40), "small computes"),
        (lambda m: m["sizes"].update(huge=m["sizes"]["small"]), "sizes"),
        (lambda m: m["sizes"]["small"].update(file="../x.onnx"), "file"),
        (lambda m: m["sizes"]["small"].update(file="/etc/x"), "file"),
        (lambda m: m["segments"][0].update(number=7), "numbered"),
        (lambda m: m["segments"][1].update(label=m["segments"][0]["label"]), "two segments"),
        (lambda m: m["segments"][0].pop("type"), "type"),
        (lambda m: m["segments"][0].update(colour_rgb=[1, 2, 300]), "colour"),
        (lambda m: m["intensity"].append({"step": "eval", "code": "1"}), "intensity"),
        (lambda m: m["regions"].append({"step": "keep_largest", "segments": [9]}), "segment 9"),
        (lambda m: m.update(sharpen={"alike": [[1, 9]]}), "sharpen.alike names segment 9, which"),
        (lambda m: m.update(sharpen={"alike": [[1], [1]]}), "sharpen.alike names segment 1 twice"),
        (lambda m: m["reference"]["labels"].pop("small"), "no reference labels"),
        (lambda m: m["files"].pop("small.onnx"), "has no digest"),
        (lambda m: m["input"]["slices"].update(low=900), "reversed"),
        (lambda m: m["grid"].update(overlap=1.0), "overlap"),
        (lambda m: m["grid"].update(spacing_mm_zyx=[1, 0, 1]), "spacing"),
    ],
)
def test_a_contradictory_manifest_is_refused(
    tmp_path: Path, change: Callable[[dict[str, Any]], None], problem: str
) -> None:
    folder = make_tiny_package(tmp_path).folder
    edit(folder, change)
    with pytest.raises(BadPackage, match=problem):
        load(folder)


def test_a_manifest_with_a_repeated_key_is_refused(tmp_path: Path) -> None:
    folder = make_tiny_package(tmp_path).folder
    text = (folder / "manifest.json").read_text(encoding="utf-8")
    (folder / "manifest.json").write_text(
        text.replace('"small.onnx":', '"small.onnx": "", "small.onnx":'), encoding="utf-8"
    )
    with pytest.raises(BadPackage, match=r"files\.small\.onnx: key 'small\.onnx' stands twice"):
        load(folder)


def test_a_folder_without_manifest_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadPackage, match=r"no manifest\.json"):
        load(tmp_path)


def test_the_variant_is_no_step_of_the_scale(tmp_path: Path) -> None:
    package = make_tiny_package(tmp_path, sizes=SIZE_NAMES)
    macs = {"teacher": 90, "large": 50, "small": 20, "tiny": 10, "fast": 30}

    def cost(manifest: dict[str, Any]) -> None:
        for name, count in macs.items():
            manifest["sizes"][name]["macs_per_patch"] = count

    edit(package.folder, cost)
    manifest = load(package.folder).manifest
    steps = {size: next_smaller(manifest, size) for size in SIZE_NAMES}
    assert steps == {
        "teacher": "large", "large": "small", "small": "tiny", "tiny": None, "fast": "small"
    }  # fmt: skip
    assert smallest(manifest) == "tiny"
    macs["fast"] = 5
    edit(package.folder, cost)
    assert next_smaller(load(package.folder).manifest, "fast") is None
    alone = make_tiny_package(tmp_path, version="2.0", sizes=["fast"])
    assert smallest(alone.manifest) == "fast"


def test_the_newest_version_is_chosen_by_number(tmp_path: Path) -> None:
    packages = [make_tiny_package(tmp_path, version=v) for v in ("0.9", "0.10", "0.2")]
    assert resolve("tiny-mr", packages).manifest.version == "0.10"
    assert resolve("tiny-mr/0.2", packages).manifest.version == "0.2"
    with pytest.raises(Misconfigured, match=r"tiny-mr/0\.10"):
        resolve("tiny-mr/3.0", packages)


def test_a_rule_with_a_size_that_the_package_lacks_is_refused(tmp_path: Path) -> None:
    make_tiny_package(tmp_path / "models")
    text = (
        "targets: {p: {ae: P, host: h}}\nrules: [{name: a, use: tiny-mr, size: SIZE, send_to: [p]}]"
    )
    config = load_text(text.replace("SIZE", "small"), base=tmp_path)
    assert [(use.rule, use.size) for use in uses(config)] == [("a", "small")]
    with pytest.raises(Misconfigured, match="offers: teacher, small"):
        uses(load_text(text.replace("SIZE", "tiny"), base=tmp_path))


def test_a_missing_package_is_reported_with_the_available_ones(tmp_path: Path) -> None:
    make_tiny_package(tmp_path / "models")
    text = "targets: {p: {ae: P, host: h}}\nrules: [{name: a, use: tiny-m, send_to: [p]}]"
    with pytest.raises(Misconfigured, match=r"tiny-mr/1\.0") as caught:
        uses(load_text(text, base=tmp_path))
    assert str(tmp_path / "models") in caught.value.advice
    with pytest.raises(Misconfigured, match="does not exist"):
        uses(load_text(text, base=tmp_path / "missing"))


def test_a_package_in_a_folder_with_another_name_is_refused(tmp_path: Path) -> None:
    package = make_tiny_package(tmp_path)
    folder = package.folder.rename(tmp_path / "tiny-mr" / "2.0")
    assert load(folder).name == "tiny-mr/1.0"
    with pytest.raises(BadPackage, match=r"tiny-mr/1\.0, so no rule finds it"):
        installed(folder)


def test_a_draft_is_no_package(tmp_path: Path) -> None:
    package = make_tiny_package(tmp_path)
    shutil.copytree(package.folder, package.folder.with_name("1.1.partial"))
    assert models_in(tmp_path) == [package.folder]


def test_a_digest_is_the_sha256_of_the_bytes(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    # FIPS 180-2, appendix B.1
    assert file_digest(tmp_path / "a").startswith("ba7816bf8f01cfea414140de5dae2223")


def test_input_ranges_are_enforced_with_their_numbers(tmp_path: Path) -> None:
    accepted = make_tiny_package(tmp_path, slices=(10, 50)).manifest.input
    fine = Grid((20, 30, 30), np.eye(4))
    check_input(accepted, fine, "MR")
    check_input(accepted, fine)
    with pytest.raises(WrongModality, match="CT"):
        check_input(accepted, fine, "CT")
    with pytest.raises(TooFewSlices, match="9 slices"):
        check_input(accepted, Grid((9, 30, 30), np.eye(4)), "MR")
    with pytest.raises(OutsideModelRange, match="51"):
        check_input(accepted, Grid((51, 30, 30), np.eye(4)), "MR")
    with pytest.raises(OutsideModelRange, match=r"12 mm is outside 0\.2 to 10 mm"):
        check_input(accepted, Grid((20, 30, 30), np.diag([12.0, 1, 1, 1])), "MR")
    with pytest.raises(OutsideModelRange, match="field of view of 601 mm"):
        check_input(accepted, Grid((20, 601, 30), np.eye(4)), "MR")


def test_an_implausible_volume_is_refused_with_its_limits() -> None:
    expected = (Expected(what="the brain", segments=(1, 2), ml=Range(low=700, high=2000)),)
    for volumes in ({1: 700.0, 2: 0.0, 3: 9e9}, {1: 1000.0, 2: 1000.0, 3: 0.0}):
        check_result(expected, volumes)
        check_result((), volumes)
    for volumes in ({1: 699.0, 2: 0.0}, {1: 2000.0, 2: 1.0}):
        numbers = f"the brain, .* {sum(volumes.values()):g} ml, outside 700 to 2000 ml"
        with pytest.raises(ImplausibleResult, match=numbers):
            check_result(expected, volumes)


def test_contradictory_expectations_are_refused(tmp_path: Path) -> None:
    wrong = (
        (Expected(what="x", segments=(3,), ml=Range(low=0, high=1)), "expect names segment 3"),
        (Expected(what="x", segments=(1,), ml=Range(low=2, high=1)), "reversed: 2"),
    )
    for number, (expected, problem) in enumerate(wrong, 1):
        with pytest.raises(BadPackage, match=problem):
            make_tiny_package(tmp_path, version=f"{number}.0", expect=(expected,))
