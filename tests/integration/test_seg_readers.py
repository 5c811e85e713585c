"""Read our objects with other software: dciodvfy, dcmqi (DCMTK, ITK) and highdicom."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import highdicom as hd
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from PIL import Image, ImageDraw

from node import durable
from node.caveats import NOTHING_DETECTED
from node.notice import encode_notice
from node.seg import Encoding, SegIdentity, to_bytes
from node.series import read
from tests.support.enhanced import enhance
from tests.support.phantoms import PLANES, Phantom, make
from tests.support.segs import CREATED, Result, encode_again, result

KINDS = ["binary", "labelmap"]


def tool(name: str) -> str:
    beside = Path(sys.executable).with_name(name)
    path = str(beside) if beside.exists() else shutil.which(name)
    if not path:
        pytest.skip(f"{name} is not installed")
    return path


def encoding(kind: str, *, omit: bool = True) -> Encoding:
    return Encoding(kind="labelmap" if kind == "labelmap" else "binary", omit_empty_frames=omit)


def written(r: Result, folder: Path) -> Path:
    path = folder / "seg.dcm"
    durable.write(path, to_bytes(r.seg))
    return path


def of_enhanced(folder: Path, phantom: Phantom, kind: str) -> Result:
    """Return the result on an Enhanced image of the phantom."""
    r = result(folder, phantom)
    series = read([enhance(r.scan, folder / "enhanced.dcm")])
    seg = encode_again(series, r.labels, r.package, encoding(kind))
    return replace(r, series=series, seg=seg)


def errors_of(path: Path) -> list[str]:
    """Return the errors that dciodvfy prints."""
    run = subprocess.run([tool("dciodvfy"), path], capture_output=True, text=True, check=False)
    return [line for line in (run.stdout + run.stderr).splitlines() if line.startswith("Error")]


@pytest.mark.parametrize("plane", PLANES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("omit", [True, False])
def test_dciodvfy_finds_no_error(tmp_path: Path, plane: str, kind: str, omit: bool) -> None:
    r = result(tmp_path, Phantom(plane=plane), encoding(kind, omit=omit))
    assert errors_of(written(r, tmp_path)) == []


@pytest.mark.parametrize("modality", ["MR", "CT"])
@pytest.mark.parametrize("kind", KINDS)
def test_dciodvfy_finds_no_error_with_an_enhanced_source(
    tmp_path: Path, modality: str, kind: str
) -> None:
    r = of_enhanced(tmp_path, Phantom(modality=modality), kind)
    assert errors_of(written(r, tmp_path)) == []


@pytest.mark.parametrize("modality", ["MR", "CT"])
def test_dciodvfy_finds_no_error_in_repaired_headers(tmp_path: Path, modality: str) -> None:
    tags = {
        "PatientSex": "", "PatientBirthDate": "", "StudyDate": "", "StudyTime": "", "StudyID": "",
        "AccessionNumber": "", "Manufacturer": "", "SliceThickness": "", "BodyPartExamined": "",
    }  # fmt: skip
    r = result(tmp_path, Phantom(modality=modality, tags=tags, segments=1))
    assert r.repairs
    assert errors_of(written(r, tmp_path)) == []


def test_dciodvfy_finds_no_error_in_an_empty_result(tmp_path: Path) -> None:
    first = result(tmp_path / "a")
    nothing = type(first.labels)(np.zeros_like(first.labels.array), first.labels.grid)
    r = result(tmp_path / "b", labels=nothing)
    assert errors_of(written(r, tmp_path)) == []


@pytest.mark.parametrize("plane", PLANES)
def test_dciodvfy_finds_no_error_in_the_report(tmp_path: Path, plane: str) -> None:
    r = result(tmp_path, Phantom(plane=plane))
    path = tmp_path / "sr.dcm"
    report = r.report()
    durable.write(path, to_bytes(report))
    assert errors_of(path) == []


@pytest.mark.parametrize("plane", PLANES)
@pytest.mark.parametrize(("kind", "omit"), [("binary", True), ("labelmap", False)])
def test_dcmqi_reads_the_same_voxels_at_the_same_places(
    tmp_path: Path, plane: str, kind: str, omit: bool
) -> None:
    r = result(tmp_path, Phantom(plane=plane), encoding(kind, omit=omit))
    out = tmp_path / "out"
    out.mkdir()
    subprocess.run(
        [
            tool("segimage2itkimage"), "--inputDICOM", written(r, tmp_path), "--outputDirectory",
            out, "--outputType", "nrrd", "--prefix", "s",
        ],
        check=True, capture_output=True, timeout=300,
    )  # fmt: skip
    if kind == "labelmap":
        assert described(out / "s-meta.json") == {1: "Anterior hippocampus", 2: "Posterior"}
    decoded = np.zeros(r.labels.array.shape, np.uint8)
    to_index = np.linalg.inv(r.scan.affine)
    for path in sorted(out.glob("*.nrrd")):
        image = sitk.ReadImage(str(path))
        array = sitk.GetArrayFromImage(image)
        for z, y, x in np.argwhere(array > 0).tolist():
            place = image.TransformIndexToPhysicalPoint((x, y, z))
            index = (to_index @ [*place, 1.0])[:3]
            assert np.abs(index - np.rint(index)).max() < 0.01
            number = int(array[z, y, x]) if kind == "labelmap" else int(path.stem.split("-")[-1])
            decoded[tuple(np.rint(index).astype(int))] = number
    np.testing.assert_array_equal(decoded, r.scan.labels)


def described(metadata: Path) -> dict[int, str]:
    """Return the labels in a file of dcmqi by the number that their voxels have."""
    (segments,) = json.loads(metadata.read_text())["segmentAttributes"]
    return {one["labelID"]: one["SegmentLabel"] for one in segments if one["labelID"]}


@pytest.mark.parametrize("plane", PLANES)
@pytest.mark.parametrize(("kind", "omit"), [("binary", True), ("labelmap", False)])
def test_highdicom_reads_the_same_volume(tmp_path: Path, plane: str, kind: str, omit: bool) -> None:
    r = result(tmp_path, Phantom(plane=plane), encoding(kind, omit=omit))
    seg = hd.seg.segread(written(r, tmp_path))
    assert [seg.get_segment_description(n).segment_label for n in (1, 2)] == [
        "Anterior hippocampus",
        "Posterior",
    ]
    array = seg.get_pixels_by_source_instance(
        r.scan.uids, combine_segments=True, assert_missing_frames_are_empty=True
    )
    np.testing.assert_array_equal(array, r.scan.labels)


@pytest.mark.parametrize("plane", PLANES)
@pytest.mark.parametrize("kind", KINDS)
def test_highdicom_finds_each_frame_by_the_frame_of_its_source(
    tmp_path: Path, plane: str, kind: str
) -> None:
    r = of_enhanced(tmp_path, Phantom(plane=plane), kind)
    headers = r.series.survey.headers
    array = hd.seg.segread(written(r, tmp_path)).get_pixels_by_source_frame(
        headers[0].sop_instance_uid,
        [header.frame for header in headers],
        combine_segments=True,
        assert_missing_frames_are_empty=True,
    )
    np.testing.assert_array_equal(array, r.scan.labels)


@pytest.mark.parametrize("plane", PLANES)
def test_dciodvfy_finds_no_error_in_contours_and_picture(tmp_path: Path, plane: str) -> None:
    r = result(tmp_path, Phantom(plane=plane))
    contours, picture = tmp_path / "rtstruct.dcm", tmp_path / "picture.dcm"
    durable.write(contours, to_bytes(r.rtstruct()))
    durable.write(picture, to_bytes(r.picture()))
    assert errors_of(contours) == []
    assert errors_of(picture) == []


def test_dcmqi_reads_the_report(tmp_path: Path) -> None:
    r = result(tmp_path)
    path, out = tmp_path / "sr.dcm", tmp_path / "sr.json"
    report = r.report()
    durable.write(path, to_bytes(report))
    subprocess.run(
        [tool("tid1500reader"), "--inputDICOM", path, "--outputMetadata", out],
        check=True, capture_output=True, timeout=300,
    )  # fmt: skip
    assert out.read_text().count('"TrackingIdentifier"') == 2


def test_dsrdump_reads_the_report(tmp_path: Path) -> None:
    r = result(tmp_path)
    path = tmp_path / "sr.dcm"
    durable.write(path, to_bytes(r.report(caveats=(NOTHING_DETECTED,), engine="onnxruntime")))
    done = subprocess.run(
        [tool("dsrdump"), "+Pl", path], check=True, capture_output=True, text=True, timeout=300
    )
    assert not [line for line in done.stderr.splitlines() if line.startswith("E:")]
    assert done.stdout.count("Volume") >= 2
    for text in (NOTHING_DETECTED.text, "engine onnxruntime", "Hippocampus, sum", "research use"):
        assert text in done.stdout


@pytest.mark.parametrize("tags", [{}, {"SeriesNumber": 3, "SeriesDescription": "T1 MPRAGE"}])
def test_dciodvfy_and_dsrdump_read_the_notice(tmp_path: Path, tags: dict[str, object]) -> None:
    source = pydicom.dcmread(make(tmp_path / "s", Phantom(tags=tags)).paths[0])
    identity = SegIdentity(
        manufacturer="segnode", model_name="segnode", serial="SEGNODE", software_version="1"
    )
    notice = encode_notice(
        source, "tiny-mr/1.0", "slice 7 of 12 is missing", inputs_digest="d", created=CREATED,
        identity=identity,
    )  # fmt: skip
    path = tmp_path / "notice.dcm"
    durable.write(path, to_bytes(notice))
    assert errors_of(path) == []
    shown = subprocess.run(
        [tool("dsrdump"), "+Pl", path], check=True, capture_output=True, text=True, timeout=300
    )
    assert not [line for line in shown.stderr.splitlines() if line.startswith("E:")]
    assert "Slice 7 of 12 is missing." in shown.stdout
    assert "No algorithms succeeded" in shown.stdout


@pytest.mark.parametrize("plane", ["axial", "oblique"])
def test_pydicom_and_pillow_fill_the_contours(tmp_path: Path, plane: str) -> None:
    """Read the structure set as another program would: pydicom for the file, Pillow to fill."""
    r = result(tmp_path, Phantom(plane=plane))
    path, finer = tmp_path / "rtstruct.dcm", 8  # drawn at eight times the resolution
    durable.write(path, to_bytes(r.rtstruct()))
    sources = {str(d.SOPInstanceUID): d for d in map(pydicom.dcmread, r.scan.paths)}
    shape = r.labels.array.shape
    filled = {uid: np.zeros(shape[1:], np.uint8) for uid in sources}
    for structure in pydicom.dcmread(path).ROIContourSequence:
        for contour in structure.get("ContourSequence", []):
            source = sources[contour.ContourImageSequence[0].ReferencedSOPInstanceUID]
            row, column = np.reshape(source.ImageOrientationPatient, (2, 3)).astype(float)
            places_mm = np.reshape(np.array(contour.ContourData, float), (-1, 3))
            offsets_mm = places_mm - np.array(source.ImagePositionPatient, float)
            assert abs(offsets_mm @ np.cross(row, column)).max() < 0.01, "in the plane of its image"
            height_mm, width_mm = map(float, source.PixelSpacing)
            x, y = offsets_mm @ row / width_mm, offsets_mm @ column / height_mm
            canvas = Image.new("L", (shape[2] * finer, shape[1] * finer))
            corners = [((a + 0.5) * finer, (b + 0.5) * finer) for a, b in zip(x, y, strict=True)]
            ImageDraw.Draw(canvas).polygon(corners, fill=1)
            inside = np.array(canvas)[finer // 2 :: finer, finer // 2 :: finer] > 0
            filled[str(source.SOPInstanceUID)][inside] = structure.ReferencedROINumber
    np.testing.assert_array_equal(np.stack([filled[uid] for uid in r.scan.uids]), r.scan.labels)


def test_dcmdump_prints_the_structures(tmp_path: Path) -> None:
    r = result(tmp_path)
    path = tmp_path / "rtstruct.dcm"
    durable.write(path, to_bytes(r.rtstruct()))
    shown = subprocess.run(
        [tool("dcmdump"), "+P", "ROIName", "+P", "ContourGeometricType", path],
        check=True, capture_output=True, text=True, timeout=300,
    ).stdout  # fmt: skip
    for segment in r.package.manifest.segments:
        assert f"[{segment.label}" in shown
    assert "CLOSED_PLANAR" in shown
