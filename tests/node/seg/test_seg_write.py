"""Frames are written as bytes, and the file is the one that highdicom and pydicom write."""

import dataclasses
import io
from pathlib import Path

import msgspec
import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

from node.imaging import Labels
from node.seg import Encoding, encode, to_bytes
from node.seg.encode import Described
from node.series import read
from tests.support import plain
from tests.support.enhanced import enhance
from tests.support.phantoms import Phantom, make, package
from tests.support.segs import CREATED, IDENTITY, encode_again, result

ENCODINGS = [Encoding(kind="binary"), Encoding(kind="labelmap"), Encoding(omit_empty_frames=False)]


def by_pydicom(dataset: Dataset) -> bytes:
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, dataset, enforce_file_format=True)
    return buffer.getvalue()


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("is_enhanced", [False, True])
@pytest.mark.parametrize("name", ["Canary^Ordinary", "Wäßrig^Ünal=山田^太郎"])
def test_the_bytes_are_those_of_pydicom(
    tmp_path: Path, encoding: Encoding, is_enhanced: bool, name: str
) -> None:
    scan = make(tmp_path / "classic", Phantom(tags={"PatientName": name}))
    series = read([enhance(scan, tmp_path / "x.dcm")] if is_enhanced else scan.paths)
    array = np.zeros(series.survey.grid.shape, np.uint8)
    array[:, 2:5, 3:9], array[2:9, 7:8, 3:12] = 1, 2
    seg = encode_again(series, Labels(array, series.survey.grid), package(tmp_path), encoding)
    assert to_bytes(seg) == by_pydicom(seg)


def test_an_object_without_frames_is_written_too(tmp_path: Path) -> None:
    r = result(tmp_path)
    report = r.report()
    assert to_bytes(report) == by_pydicom(report)


SIZES = {  # rows and columns, and what follows from their product for the last byte
    "whole bytes": (16, 16),
    "frames that begin inside a byte": (15, 13),
    "an odd number of bytes": (3, 8),
}


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
@pytest.mark.parametrize(
    "content", ["two segments", "an only segment", "an empty slice", "one voxel", "nothing"]
)
def test_the_bytes_are_those_of_highdicom_alone(
    tmp_path: Path, encoding: Encoding, size: tuple[int, int], content: str
) -> None:
    scan = make(tmp_path / "series", Phantom(shape=(5, *size)))
    series = read(scan.paths)
    array = np.zeros(series.survey.grid.shape, np.uint8)
    if content in ("two segments", "an empty slice"):
        array[:, :2, 1:5], array[1:4, 2:, 3:] = 1, 2
    if content == "an empty slice":
        array[2] = 0
    if content == "one voxel":
        array[3, 1, 2] = 2
    model = package(tmp_path)
    if content == "an only segment":  # its number is shared by all frames
        array[1:4, 2:, 3:] = 1
        manifest = msgspec.structs.replace(model.manifest, segments=model.manifest.segments[:1])
        model = dataclasses.replace(model, manifest=manifest)
    described = Described(
        series, Labels(array, series.survey.grid), model, "small", "cd" * 32, IDENTITY, encoding,
        CREATED,
    )  # fmt: skip
    assert to_bytes(encode(**described._asdict())) == plain.seg_bytes(described)


def test_frames_as_bytes_can_be_read_like_any_others(tmp_path: Path) -> None:
    r = result(tmp_path)
    first = r.seg.PerFrameFunctionalGroupsSequence[0]
    assert first.SegmentIdentificationSequence[0].ReferencedSegmentNumber == 1
    assert len(r.seg.PerFrameFunctionalGroupsSequence) == r.seg.NumberOfFrames
    assert to_bytes(r.seg) == by_pydicom(r.seg)
