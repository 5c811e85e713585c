"""Duplicates by meaning: the same place and pixels under another UID, or other pixels."""

from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import JPEG2000Lossless, generate_uid

from node import errors
from node.series import read, read_headers, survey
from tests.support.enhanced import enhance, frames
from tests.support.odd_headers import Edit, sets
from tests.support.phantoms import Phantom, Scan, make


def copied(scan: Scan, at: int, folder: Path, **values: object) -> Path:
    """Write a copy of an image under another UID and instance number."""
    dataset = pydicom.dcmread(scan.paths[at])
    dataset.SOPInstanceUID = generate_uid()
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.InstanceNumber = 99
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    folder.mkdir(exist_ok=True)
    path = folder / f"{at}.dcm"
    dataset.save_as(path)
    return path


@pytest.fixture
def scan(tmp_path: Path) -> Scan:
    return make(tmp_path / "series", Phantom(shuffle=False, shape=(12, 40, 36)))


def test_a_copy_under_another_uid_is_dropped_and_listed(scan: Scan, tmp_path: Path) -> None:
    copy = copied(scan, 4, tmp_path / "copy")
    series = read([copy, *scan.paths])
    np.testing.assert_array_equal(series.volume.array, scan.values)
    (dropped,) = series.survey.dropped
    assert dropped.sop_instance_uid == pydicom.dcmread(copy).SOPInstanceUID
    assert "duplicate of image 5" in dropped.reason


def test_a_compressed_copy_with_other_numbers_is_a_copy(scan: Scan, tmp_path: Path) -> None:
    copy = copied(scan, 4, tmp_path / "copy", AcquisitionNumber=7, AccessionNumber="X")
    dataset = pydicom.dcmread(copy)
    dataset.compress(JPEG2000Lossless, generate_instance_uid=False)
    dataset.save_as(copy)
    assert len(read([copy, *scan.paths]).survey.dropped) == 1


def test_a_copy_may_have_a_rounded_position(scan: Scan, tmp_path: Path) -> None:
    x, y, z = (float(v) for v in pydicom.dcmread(scan.paths[4]).ImagePositionPatient)
    rounded = copied(scan, 4, tmp_path / "copy", ImagePositionPatient=[x + 0.006, y, z - 0.006])
    assert len(read([rounded, *scan.paths]).survey.dropped) == 1


def test_a_whole_series_imported_twice_counts_once(scan: Scan, tmp_path: Path) -> None:
    copies = [copied(scan, at, tmp_path / "copies") for at in range(12)]
    series = read([*copies, *scan.paths])
    np.testing.assert_array_equal(series.volume.array, scan.values)
    assert [header.sop_instance_uid for header in series.survey.headers] == scan.uids
    assert len(series.survey.dropped) == 12


def in_32_bits(dataset: Dataset) -> None:
    values = np.frombuffer(dataset.PixelData, "<u2")
    dataset.PixelData = values.astype("<u4").tobytes()
    dataset.BitsAllocated = dataset.BitsStored = 32
    dataset.HighBit = 31


def shifted(dataset: Dataset) -> None:
    free = 16 - dataset.BitsStored
    values = np.frombuffer(dataset.PixelData, "<u2") << free
    dataset.PixelData, dataset.HighBit = values.astype("<u2").tobytes(), 15


@pytest.mark.parametrize(
    "edit",
    [
        sets(RescaleSlope="1", RescaleIntercept="0"),
        sets(BitsStored=16, HighBit=15),
        sets(PixelRepresentation=1),
        in_32_bits,
        shifted,
    ],
    ids=["identity", "more bits", "signed", "32 bits", "High Bit"],
)
def test_a_copy_with_the_same_values_in_another_form_is_a_copy(
    scan: Scan, tmp_path: Path, edit: Edit
) -> None:
    copy = copied(scan, 4, tmp_path / "copy")
    dataset = pydicom.dcmread(copy)
    edit(dataset)
    dataset.save_as(copy)
    series = read([copy, *scan.paths])
    np.testing.assert_array_equal(series.volume.array, scan.values)
    assert len(series.survey.dropped) == 1


def test_six_copies_of_one_image_are_dropped(scan: Scan, tmp_path: Path) -> None:
    copies = [copied(scan, 4, tmp_path / f"copy{at}") for at in range(6)]
    assert len(read([*copies, *scan.paths]).survey.dropped) == 6


def noisy(path: Path) -> None:
    dataset = pydicom.dcmread(path)
    values = np.frombuffer(dataset.PixelData, "<u2") + 1
    dataset.PixelData = values.astype("<u2").tobytes()
    dataset.save_as(path)


def test_other_pixels_at_one_place_are_unsuitable_naming_both(scan: Scan, tmp_path: Path) -> None:
    copy = copied(scan, 4, tmp_path / "copy", AcquisitionNumber=3)
    noisy(copy)
    with pytest.raises(errors.DuplicatePositions, match="images 5 and 99 at ") as caught:
        read([copy, *scan.paths])
    assert "1 slice position is taken twice, by different images: " in caught.value.message
    assert caught.value.message.endswith("; they differ in acquisitions")


def test_both_are_named_by_uid_if_they_share_a_number(scan: Scan, tmp_path: Path) -> None:
    copy = copied(scan, 4, tmp_path / "copy", InstanceNumber=5)
    noisy(copy)
    with pytest.raises(errors.DuplicatePositions) as caught:
        read([copy, *scan.paths])
    for path in (copy, scan.paths[4]):
        assert str(pydicom.dcmread(path).SOPInstanceUID) in caught.value.message


@pytest.mark.parametrize(
    "values",
    [
        {"RescaleSlope": "2", "RescaleIntercept": "0"},
        {"EchoTime": "80"},
        {"ImageType": ["DERIVED", "PRIMARY", "M"]},
    ],
)
def test_the_same_pixels_with_another_meaning_are_no_copy(
    scan: Scan, tmp_path: Path, values: dict[str, object]
) -> None:
    copy = copied(scan, 4, tmp_path / "copy", **values)
    with pytest.raises(errors.DuplicatePositions):
        read([copy, *scan.paths])


def test_a_copy_beside_a_different_image_changes_nothing(scan: Scan, tmp_path: Path) -> None:
    copy, different = copied(scan, 4, tmp_path / "a"), copied(scan, 8, tmp_path / "b")
    noisy(different)
    with pytest.raises(errors.DuplicatePositions):
        read([copy, different, *scan.paths])


def test_a_frame_may_be_a_copy(tmp_path: Path) -> None:
    def change(dataset: Dataset) -> None:
        groups = frames(dataset)
        dataset.NumberOfFrames += 1
        dataset.PerFrameFunctionalGroupsSequence.append(groups[0])
        dataset.PixelData += dataset.PixelData[: 20 * 16 * 2]

    scan = make(tmp_path / "classic")
    path = enhance(scan, tmp_path / "enhanced.dcm", change=change)
    surveyed = survey(read_headers(path))
    assert len(surveyed.headers) == 12
    assert [dropped.frame for dropped in surveyed.dropped] == [13]


def test_an_unreadable_copy_is_no_copy(scan: Scan, tmp_path: Path) -> None:
    copy = copied(scan, 4, tmp_path / "copy")
    copy.write_bytes(copy.read_bytes()[:-200])
    with pytest.raises(errors.DuplicatePositions):
        read([copy, *scan.paths])
