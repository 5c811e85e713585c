"""`segnode try` and `selftest`, in this process."""

import json
from pathlib import Path

import numpy as np
import pytest
from pydicom.uid import generate_uid

from node import seg, series
from node.imaging import nifti
from tests.support.commanding import Run
from tests.support.enhanced import enhance
from tests.support.measuring import ENGINES_HERE
from tests.support.packages import NAMES, THRESHOLDS, expected_labels, phantom
from tests.support.phantoms import Phantom, make

ONE_MM = Phantom(spacing_mm=(1.0, 1.0, 1.0))


def attempt(
    run: Run, source: Path, out: Path, tiny_models: Path, *more: str
) -> tuple[int, str, str]:
    options = ["--task", "tiny-mr", "--models", str(tiny_models), "--threads", "1", *more]
    return run("try", source, "--out", out, *options)


def test_try_segments_a_dicom_folder(run: Run, tmp_path: Path, tiny_models: Path) -> None:
    scan = make(tmp_path / "series", ONE_MM)
    (tmp_path / "series/README.txt").write_text("no image", encoding="utf-8")
    status, printed, _ = attempt(run, tmp_path / "series", tmp_path / "out", tiny_models, "--json")
    assert status == 0
    report = json.loads(printed)
    source = series.read(scan.paths)
    labels = seg.read_labels(Path(report["seg"]), source)
    np.testing.assert_array_equal(labels.array, scan.labels)
    voxels = [int((scan.labels == number).sum()) for number in (1, 2)]
    assert list(report["volumes_ml"].values()) == pytest.approx([n / 1000 for n in voxels])
    assert Path(report["preview"]).read_bytes().startswith(b"\x89PNG")
    np.testing.assert_array_equal(
        np.sort(nifti.read_labels(Path(report["labels"])).array.ravel()),
        np.sort(labels.array.ravel()),
    )
    assert report["seconds"]
    assert all(seconds >= 0 for seconds in report["seconds"].values())


def test_try_segments_an_enhanced_image(run: Run, tmp_path: Path, tiny_models: Path) -> None:
    scan = make(tmp_path / "classic", ONE_MM)
    (tmp_path / "series").mkdir()
    path = enhance(scan, tmp_path / "series/enhanced.dcm")
    status, printed, _ = attempt(run, tmp_path / "series", tmp_path / "out", tiny_models, "--json")
    assert status == 0
    labels = seg.read_labels(Path(json.loads(printed)["seg"]), series.read([path]))
    np.testing.assert_array_equal(labels.array, scan.labels)


def test_try_segments_a_nifti_file_and_prints_a_table(
    run: Run, tmp_path: Path, tiny_models: Path
) -> None:
    nifti.write(phantom(), tmp_path / "head.nii.gz")
    status, printed, steps = attempt(run, tmp_path / "head.nii.gz", tmp_path / "out", tiny_models)
    assert status == 0
    expected = expected_labels(phantom())
    for number, _ in enumerate(THRESHOLDS, 1):
        assert f"{(expected.array == number).sum() / 1000:.2f}" in printed
    assert "total" in printed
    assert "tiny-mr/1.0" in steps
    assert list((tmp_path / "out").glob("*.dcm"))


@pytest.mark.parametrize("engine", ENGINES_HERE)
def test_try_uses_the_requested_engine(
    run: Run, tmp_path: Path, tiny_models: Path, engine: str
) -> None:
    scan = make(tmp_path / "series", ONE_MM)
    options = ("--engine", engine, "--json")
    status, printed, _ = attempt(run, tmp_path / "series", tmp_path / "out", tiny_models, *options)
    assert status == 0
    report = json.loads(printed)
    assert report["engine"] == engine
    assert report["volumes_ml"] == pytest.approx(
        {name: (scan.labels == number).sum() / 1000 for number, name in enumerate(NAMES, 1)}
    )


def test_try_requires_a_choice_among_several_series(
    run: Run, tmp_path: Path, tiny_models: Path
) -> None:
    make(tmp_path / "all/a", ONE_MM)
    uid = generate_uid()
    make(tmp_path / "all/b", Phantom(seed=2, tags={"SeriesInstanceUID": uid}))
    status, _, printed = attempt(run, tmp_path / "all", tmp_path / "out", tiny_models)
    assert status == 78
    assert "--series" in printed
    assert uid in printed
    assert attempt(run, tmp_path / "all", tmp_path / "out", tiny_models, "--series", uid)[0] == 0
    assert attempt(run, tmp_path / "all", tmp_path / "o", tiny_models, "--series", "1.2")[0] == 78


def test_try_refuses_unsuitable_input_with_a_message(
    run: Run, tmp_path: Path, tiny_models: Path
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty/a.txt").write_text("no image", encoding="utf-8")
    status, _, printed = attempt(run, tmp_path / "empty", tmp_path / "out", tiny_models)
    assert (status, "no DICOM image" in printed) == (65, True)
    make(tmp_path / "ct", Phantom(modality="CT"))
    assert attempt(run, tmp_path / "ct", tmp_path / "out", tiny_models)[0] == 65
    make(tmp_path / "gap", Phantom(drop=(5,)))
    assert attempt(run, tmp_path / "gap", tmp_path / "out", tiny_models)[0] == 65
    make(tmp_path / "wide", Phantom(spacing_mm=(20.0, 1.0, 1.0)))
    status, _, printed = attempt(run, tmp_path / "wide", tmp_path / "out", tiny_models)
    assert (status, "Traceback" in printed) == (65, False)
    (tmp_path / "broken.nii.gz").write_bytes(b"no NIfTI")
    assert attempt(run, tmp_path / "broken.nii.gz", tmp_path / "out", tiny_models)[0] == 65
    assert attempt(run, tmp_path / "nowhere", tmp_path / "out", tiny_models)[0] == 78
    assert (
        run("try", tmp_path, "--out", tmp_path / "o", "--task", "liver", "--models", tiny_models)[0]
        == 78
    )


def test_selftest_verifies_the_chain(run: Run, tiny_models: Path) -> None:
    status, printed, _ = run("selftest", "--models", tiny_models, "--threads", "1", "--json")
    assert status == 0
    assert [(r["size"], r["ok"], r["dice"]) for r in json.loads(printed)] == [
        ("teacher", True, 1.0),
        ("small", True, 1.0),
    ]
