"""What frames share is encoded once, and the file is the one that pydicom writes."""

import io
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

from node.imaging import Labels
from node.seg import Encoding, to_bytes
from node.series import read
from tests.support.enhanced import enhance
from tests.support.phantoms import Phantom, make, package
from tests.support.segs import encode_again, result

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


def test_frames_of_one_slice_share_their_references(tmp_path: Path) -> None:
    scan = make(tmp_path / "series", Phantom())
    array = np.full(scan.labels.shape, 1, np.uint8)
    array[:, 5:] = 2
    seg = encode_again(read(scan.paths), Labels(array, scan.grid), package(tmp_path))
    frames = seg.PerFrameFunctionalGroupsSequence
    by_slice: dict[str, set[int]] = {}
    for frame in frames:
        image = frame.DerivationImageSequence[0].SourceImageSequence[0]
        places = by_slice.setdefault(image.ReferencedSOPInstanceUID, set())
        places |= {id(frame["DerivationImageSequence"]), id(frame["PlanePositionSequence"])}
    assert len(by_slice) < len(frames)
    assert all(len(places) == 2 for places in by_slice.values())
    assert len({id(frame["FrameContentSequence"]) for frame in frames}) == len(frames)
