"""A SEG of an Enhanced multi-frame source names the frames on which it lies."""

from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import EnhancedMRImageStorage

from node.errors import VerificationFailed
from node.imaging import Labels
from node.seg import Encoding, read_labels, repairs_of, to_bytes, verify
from node.series import Series, read
from tests.support.enhanced import another, enhance
from tests.support.phantoms import PLANES, Phantom, Scan, make, package
from tests.support.segs import Result, encode_again

ENCODINGS = [Encoding(kind="binary"), Encoding(kind="labelmap"), Encoding(omit_empty_frames=False)]


def in_two_files(scan: Scan, folder: Path) -> list[Path]:
    return [
        enhance(scan, folder / "b.dcm", part=slice(0, 7)),
        enhance(scan, folder / "a.dcm", part=slice(7, None), change=another),
    ]


def references(seg: Dataset) -> set[tuple[str, str, int | None]]:
    return {
        (
            str(image.ReferencedSOPClassUID),
            str(image.ReferencedSOPInstanceUID),
            image.get("ReferencedFrameNumber"),
        )
        for frame in seg.PerFrameFunctionalGroupsSequence
        for image in frame.DerivationImageSequence[0].SourceImageSequence
    }


def both_segments_everywhere(series: Series) -> Labels:
    """Return labels with two segments on every slice: their frames share a source."""
    array = np.zeros(series.survey.grid.shape, np.uint8)
    array[:, 2:5, 3:9] = 1
    array[:, 7:8, 3:12] = 2
    array[0, 0, 0] = array[-1, -1, -1] = 1
    return Labels(array, series.survey.grid)


@pytest.mark.parametrize("plane", PLANES)
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_it_shows_the_labels_where_they_lie_in_the_patient(
    tmp_path: Path, plane: str, encoding: Encoding
) -> None:
    scan = make(tmp_path / "classic", Phantom(plane=plane))
    series = read([enhance(scan, tmp_path / "enhanced.dcm")])
    assert series.survey.grid.is_close(scan.grid, 1e-6)
    model = package(tmp_path)
    for labels in (Labels(scan.labels, series.survey.grid), both_segments_everywhere(series)):
        seg, repairs = encode_again(series, labels, model, encoding), repairs_of(series)
        verify(to_bytes(seg), series, labels, model.manifest.segments)
        np.testing.assert_array_equal(read_labels(to_bytes(seg), series).array, labels.array)
        assert repairs == ()


def test_voxels_and_places_are_those_of_the_seg_of_single_frames(tmp_path: Path) -> None:
    scan = make(tmp_path / "classic", Phantom(plane="oblique"))
    single, multi = read(scan.paths), read([enhance(scan, tmp_path / "enhanced.dcm")])
    model = package(tmp_path)
    of_single = encode_again(single, Labels(scan.labels, single.survey.grid), model)
    of_multi = encode_again(multi, Labels(scan.labels, multi.survey.grid), model)
    assert of_multi.PixelData == of_single.PixelData
    for one, other in zip(
        of_multi.PerFrameFunctionalGroupsSequence,
        of_single.PerFrameFunctionalGroupsSequence,
        strict=True,
    ):
        assert one.PlanePositionSequence == other.PlanePositionSequence
    assert of_multi.SharedFunctionalGroupsSequence == of_single.SharedFunctionalGroupsSequence


def test_each_frame_names_the_frame_it_lies_on(tmp_path: Path) -> None:
    scan = make(tmp_path / "classic")
    path = enhance(scan, tmp_path / "enhanced.dcm")
    series, source = read([path]), pydicom.dcmread(path)
    seg = encode_again(series, both_segments_everywhere(series), package(tmp_path))
    assert seg.NumberOfFrames == 24
    for frame in seg.PerFrameFunctionalGroupsSequence:
        (image,) = frame.DerivationImageSequence[0].SourceImageSequence
        expected = source.PerFrameFunctionalGroupsSequence[image.ReferencedFrameNumber - 1]
        assert (
            frame.PlanePositionSequence[0].ImagePositionPatient
            == expected.PlanePositionSequence[0].ImagePositionPatient
        )
        assert image.SpatialLocationsPreserved == "YES"
    assert {name[:2] for name in references(seg)} == {
        (EnhancedMRImageStorage, source.SOPInstanceUID)
    }


def test_the_object_is_named_once_as_the_referenced_instance(tmp_path: Path) -> None:
    scan = make(tmp_path / "classic")
    path = enhance(scan, tmp_path / "enhanced.dcm")
    series, source = read([path]), pydicom.dcmread(path)
    seg = encode_again(series, both_segments_everywhere(series), package(tmp_path))
    (referenced,) = seg.ReferencedSeriesSequence
    assert referenced.SeriesInstanceUID == source.SeriesInstanceUID
    for items in (referenced.ReferencedInstanceSequence, seg.SourceImageSequence):
        assert [(i.ReferencedSOPClassUID, i.ReferencedSOPInstanceUID) for i in items] == [
            (EnhancedMRImageStorage, source.SOPInstanceUID)
        ]


def test_single_frame_sources_are_named_without_a_frame_number(tmp_path: Path) -> None:
    scan = make(tmp_path)
    series = read(scan.paths)
    seg = encode_again(series, both_segments_everywhere(series), package(tmp_path))
    assert {name[1] for name in references(seg)} == set(scan.uids)
    assert {name[2] for name in references(seg)} == {None}


def test_a_source_of_two_files_is_named_by_both(tmp_path: Path) -> None:
    scan = make(tmp_path / "classic")
    series = read(in_two_files(scan, tmp_path))
    labels, model = both_segments_everywhere(series), package(tmp_path)
    seg = encode_again(series, labels, model)
    verify(to_bytes(seg), series, labels, model.manifest.segments)
    named = seg.ReferencedSeriesSequence[0].ReferencedInstanceSequence
    assert len(named) == 2
    assert len(references(seg)) == 12


def test_a_seg_that_names_another_frame_does_not_pass(tmp_path: Path) -> None:
    scan = make(tmp_path / "classic")
    series = read([enhance(scan, tmp_path / "enhanced.dcm")])
    labels = both_segments_everywhere(series)
    seg = encode_again(series, labels, package(tmp_path))
    image = (
        seg.PerFrameFunctionalGroupsSequence[3].DerivationImageSequence[0].SourceImageSequence[0]
    )
    image.ReferencedFrameNumber = image.ReferencedFrameNumber % 12 + 1
    with pytest.raises(VerificationFailed, match="source image"):
        verify(to_bytes(seg), series, labels)
    del image.ReferencedFrameNumber
    with pytest.raises(VerificationFailed, match="source image"):
        verify(to_bytes(seg), series, labels)


def test_odd_headers_are_repaired_as_of_single_frames(tmp_path: Path) -> None:
    odd = Phantom(tags={"PatientSex": "X", "StudyDate": "2024.03.05"})
    scan = make(tmp_path / "classic", odd)
    series = read([enhance(scan, tmp_path / "enhanced.dcm")])
    labels = both_segments_everywhere(series)
    seg, repairs = encode_again(series, labels, package(tmp_path)), repairs_of(series)
    assert repairs == repairs_of(read(scan.paths))
    assert len(repairs) == 2
    verify(to_bytes(seg), series, labels)


def test_its_report_refers_to_the_series(tmp_path: Path) -> None:
    scan = make(tmp_path / "classic")
    series = read([enhance(scan, tmp_path / "enhanced.dcm")])
    labels, model = Labels(scan.labels, series.survey.grid), package(tmp_path)
    seg = encode_again(series, labels, model)
    report = Result(scan, series, labels, model, seg).report()
    assert report.StudyInstanceUID == series.survey.headers[0].study_uid
