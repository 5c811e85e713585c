"""Sabotage: a SEG with any single mistake must fail verification."""

import copy
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from node.errors import VerificationFailed
from node.seg import Encoding, read_labels, to_bytes, verify
from tests.support.phantoms import Phantom
from tests.support.segs import Result, result

FULL = Encoding(omit_empty_frames=False)


def _pixels(seg: Dataset) -> np.ndarray:
    count = seg.NumberOfFrames * seg.Rows * seg.Columns
    bits = np.unpackbits(np.frombuffer(seg.PixelData, np.uint8), bitorder="little")
    return bits[:count].reshape(seg.NumberOfFrames, seg.Rows, seg.Columns)


def _put(seg: Dataset, frames: np.ndarray) -> None:
    packed = np.packbits(frames.ravel(), bitorder="little").tobytes()
    seg.PixelData = packed + b"\0" * (len(packed) % 2)


def _frames(seg: Dataset) -> list[Dataset]:
    return list(seg.PerFrameFunctionalGroupsSequence)


def _shared(seg: Dataset) -> Dataset:
    return seg.SharedFunctionalGroupsSequence[0]


def _place(frame: Dataset) -> Dataset:
    return frame.PlanePositionSequence[0]


def mirrored_rows(seg: Dataset) -> None:
    _put(seg, _pixels(seg)[:, ::-1])


def mirrored_columns(seg: Dataset) -> None:
    _put(seg, _pixels(seg)[:, :, ::-1])


def transposed_pixels(seg: Dataset) -> None:
    _put(seg, _pixels(seg).transpose(0, 2, 1))


def reversed_slices(seg: Dataset) -> None:
    _put(seg, _pixels(seg)[::-1])


def reversed_positions(seg: Dataset) -> None:
    half = seg.NumberOfFrames // 2
    for frames in (_frames(seg)[:half], _frames(seg)[half:]):
        groups = [(f.PlanePositionSequence, f.DerivationImageSequence) for f in frames]
        for frame, (place, derived) in zip(frames, reversed(groups), strict=True):
            frame.PlanePositionSequence, frame.DerivationImageSequence = place, derived


def shifted_by_one_slice(seg: Dataset) -> None:
    _put(seg, np.roll(_pixels(seg), 1, axis=0))


def shifted_by_one_column(seg: Dataset) -> None:
    _put(seg, np.roll(_pixels(seg), 1, axis=2))


def shifted_origin(seg: Dataset) -> None:
    for frame in _frames(seg):
        place = [float(v) for v in _place(frame).ImagePositionPatient]
        _place(frame).ImagePositionPatient = [place[0] + 0.5, *place[1:]]


def one_frame_elsewhere(seg: Dataset) -> None:
    place = [float(v) for v in _place(_frames(seg)[3]).ImagePositionPatient]
    _place(_frames(seg)[3]).ImagePositionPatient = [place[0], place[1], place[2] + 0.05]


def swapped_segments(seg: Dataset) -> None:
    for frame in _frames(seg):
        item = frame.SegmentIdentificationSequence[0]
        item.ReferencedSegmentNumber = 3 - item.ReferencedSegmentNumber


def swapped_descriptions(seg: Dataset) -> None:
    first, second = seg.SegmentSequence
    first.SegmentLabel, second.SegmentLabel = second.SegmentLabel, first.SegmentLabel


def wrong_orientation(seg: Dataset) -> None:
    cosines = [float(v) for v in _shared(seg).PlaneOrientationSequence[0].ImageOrientationPatient]
    _shared(seg).PlaneOrientationSequence[0].ImageOrientationPatient = cosines[3:] + cosines[:3]


def negated_orientation(seg: Dataset) -> None:
    cosines = [float(v) for v in _shared(seg).PlaneOrientationSequence[0].ImageOrientationPatient]
    _shared(seg).PlaneOrientationSequence[0].ImageOrientationPatient = [
        *[-v for v in cosines[:3]],
        *cosines[3:],
    ]


def altered_spacing(seg: Dataset) -> None:
    measures = _shared(seg).PixelMeasuresSequence[0]
    measures.PixelSpacing = [float(v) * 1.002 for v in measures.PixelSpacing]


def swapped_spacing(seg: Dataset) -> None:
    measures = _shared(seg).PixelMeasuresSequence[0]
    measures.PixelSpacing = list(measures.PixelSpacing)[::-1]


def dropped_frame(seg: Dataset) -> None:
    at = int(np.flatnonzero(_pixels(seg).any(axis=(1, 2)))[0])
    _put(seg, np.delete(_pixels(seg), at, axis=0))
    del seg.PerFrameFunctionalGroupsSequence[at]
    seg.NumberOfFrames -= 1


def lost_group(seg: Dataset) -> None:
    del seg.PerFrameFunctionalGroupsSequence[-1]


def doubled_frame(seg: Dataset) -> None:
    seg.PerFrameFunctionalGroupsSequence.append(copy.deepcopy(_frames(seg)[0]))
    _put(seg, np.concatenate([_pixels(seg), _pixels(seg)[:1]]))
    seg.NumberOfFrames += 1


def turned_bits(seg: Dataset) -> None:
    raw = np.frombuffer(seg.PixelData, np.uint8)
    turned = np.packbits(np.unpackbits(raw, bitorder="little"), bitorder="big")
    seg.PixelData = turned.tobytes()


def one_voxel_more(seg: Dataset) -> None:
    frames = _pixels(seg).copy()
    frames[0, 0, 0] ^= 1
    _put(seg, frames)


def truncated_pixels(seg: Dataset) -> None:
    seg.PixelData = seg.PixelData[:-20]


def wrong_frame_of_reference(seg: Dataset) -> None:
    seg.FrameOfReferenceUID = generate_uid()


def wrong_study(seg: Dataset) -> None:
    seg.StudyInstanceUID = generate_uid()


def wrong_patient(seg: Dataset) -> None:
    seg.PatientID = "SOMEBODY-ELSE"


def wrong_source_image(seg: Dataset) -> None:
    frames = _frames(seg)
    a = frames[2].DerivationImageSequence[0].SourceImageSequence[0]
    b = frames[3].DerivationImageSequence[0].SourceImageSequence[0]
    a.ReferencedSOPInstanceUID = b.ReferencedSOPInstanceUID


def no_source_image(seg: Dataset) -> None:
    del _frames(seg)[2].DerivationImageSequence


def locations_not_preserved(seg: Dataset) -> None:
    item = _frames(seg)[2].DerivationImageSequence[0].SourceImageSequence[0]
    item.SpatialLocationsPreserved = "NO"


def two_referenced_series(seg: Dataset) -> None:
    seg.ReferencedSeriesSequence.append(copy.deepcopy(seg.ReferencedSeriesSequence[0]))


def in_the_source_series(seg: Dataset) -> None:
    seg.SeriesInstanceUID = seg.ReferencedSeriesSequence[0].SeriesInstanceUID


def wrong_code(seg: Dataset) -> None:
    seg.SegmentSequence[0].SegmentedPropertyTypeCodeSequence[0].CodeValue = "85756007"


def lost_laterality(seg: Dataset) -> None:
    kind = seg.SegmentSequence[0].SegmentedPropertyTypeCodeSequence[0]
    del kind.SegmentedPropertyTypeModifierCodeSequence


def no_colour(seg: Dataset) -> None:
    del seg.SegmentSequence[1].RecommendedDisplayCIELabValue


def no_tracking(seg: Dataset) -> None:
    seg.SegmentSequence[1].TrackingUID = ""


def lost_segment(seg: Dataset) -> None:
    del seg.SegmentSequence[1]


def other_numbers(seg: Dataset) -> None:
    seg.SegmentSequence[1].SegmentNumber = 7


def other_modality(seg: Dataset) -> None:
    seg.Modality = "MR"


def fractional(seg: Dataset) -> None:
    seg.SegmentationType = "FRACTIONAL"


SABOTAGE: list[Callable[[Dataset], None]] = [
    mirrored_rows, mirrored_columns, transposed_pixels, reversed_slices, reversed_positions,
    shifted_by_one_slice, shifted_by_one_column, shifted_origin, one_frame_elsewhere,
    swapped_segments, swapped_descriptions, wrong_orientation, negated_orientation,
    altered_spacing, swapped_spacing, dropped_frame, lost_group, doubled_frame, turned_bits,
    one_voxel_more, truncated_pixels, wrong_frame_of_reference, wrong_study, wrong_patient,
    wrong_source_image, no_source_image, locations_not_preserved, two_referenced_series,
    in_the_source_series, wrong_code, lost_laterality, no_colour, no_tracking, lost_segment,
    other_numbers, other_modality, fractional,
]  # fmt: skip


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Result:
    # a square slice, so that a transposition keeps the shape
    phantom = Phantom(plane="oblique", shape=(12, 18, 18))
    return result(tmp_path_factory.mktemp("good"), phantom, FULL)


def test_the_untouched_seg_passes(good: Result) -> None:
    verify(to_bytes(good.seg), good.series, good.labels, good.package.manifest.segments)


@pytest.mark.parametrize("sabotage", SABOTAGE, ids=lambda f: f.__name__)
def test_sabotage_is_caught(good: Result, sabotage: Callable[[Dataset], None]) -> None:
    # read from bytes, because frames share elements, and only one is to be changed
    seg = pydicom.dcmread(io.BytesIO(to_bytes(good.seg)))
    sabotage(seg)
    with pytest.raises(VerificationFailed) as caught:
        verify(to_bytes(seg), good.series, good.labels, good.package.manifest.segments)
    assert "CANARY" not in str(caught.value)
    assert "ELSE" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"not DICOM", b"\0" * 128 + b"DICM"])
def test_a_file_that_is_not_dicom_fails(good: Result, content: bytes) -> None:
    with pytest.raises(VerificationFailed):
        verify(content, good.series, good.labels)


def test_a_message_of_a_library_is_not_repeated(good: Result) -> None:
    count = str(good.seg.NumberOfFrames).encode()
    whole = to_bytes(good.seg)
    written = b"\x28\x00\x08\x00IS" + bytes([len(count), 0]) + count
    assert written in whole
    damaged = whole.replace(written, b"\x28\x00\x08\x00IS\x06\x00CANARY")
    for call in (
        lambda: verify(damaged, good.series, good.labels),
        lambda: read_labels(damaged, good.series),
    ):
        with pytest.raises(VerificationFailed) as caught:
            call()
        assert "CANARY" in str(caught.value.__cause__)
        assert str(caught.value) == "the SEG cannot be read back (ValueError)"


def test_a_message_of_the_decoder_is_kept(good: Result) -> None:
    seg = copy.deepcopy(good.seg)
    seg.PixelData = seg.PixelData[:-8]
    with pytest.raises(VerificationFailed, match=r"Pixel Data has \d+ bytes"):
        verify(to_bytes(seg), good.series, good.labels)


def test_every_truncation_is_caught(good: Result) -> None:
    whole = to_bytes(good.seg)
    coarse = range(0, len(whole) - 1, len(whole) // 40)
    # every place in the middle of one element too: tag, length and value are cut differently
    fine = range(len(whole) // 2, len(whole) // 2 + 60)
    for length in (*coarse, *fine):
        with pytest.raises(VerificationFailed):
            verify(whole[:length], good.series, good.labels)


def test_labels_of_another_case_are_caught(good: Result) -> None:
    other = type(good.labels)(np.roll(good.labels.array, 1, axis=1), good.labels.grid)
    with pytest.raises(VerificationFailed, match="voxels differ"):
        verify(to_bytes(good.seg), good.series, other)


def test_a_swapped_labelmap_is_caught(tmp_path: Path) -> None:
    r = result(tmp_path, encoding=Encoding(kind="labelmap"))
    other = type(r.labels)(((3 - r.labels.array) % 3).astype(np.uint8), r.labels.grid)
    with pytest.raises(VerificationFailed):
        verify(to_bytes(r.seg), r.series, other)
