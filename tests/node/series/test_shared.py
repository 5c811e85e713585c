"""A header that is put together from an earlier image's is the header that decoding gives."""

from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.tag import Tag
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

from node.series import read
from node.series.frames import read_headers
from node.series.header import header_of, read_instance
from node.series.native import native_samples
from node.series.shared import PER_SLICE, SHARED, shared_bytes
from tests.support.enhanced import enhance
from tests.support.phantoms import Phantom, make

FIELDS = {
    "Modality": "CT", "Rows": 21, "BitsStored": 11, "RescaleSlope": "2", "ImageType": "DERIVED",
    "PatientAge": "045Y", "StudyDate": "20200101", "PatientID": "another", "EchoTime": "7",
    "SliceThickness": "4", "StationName": "MR2", "SeriesDescription": "Äther",
    "ContrastBolusAgent": "agent", "SequenceName": "fl3d", "ImagesInAcquisition": "9",
    "LossyImageCompression": "01", "SeriesNumber": "12", "AccessionNumber": "A1",
}  # fmt: skip


class Traced(Dataset):
    """A data set that remembers which elements were read."""

    def __init__(self, source: Dataset) -> None:
        super().__init__(source)
        object.__setattr__(self, "read_tags", set())
        self.file_meta = source.file_meta

    def get_item(self, key: Any, **options: Any) -> Any:
        self.read_tags.add(Tag(key))
        return super().get_item(key, **options)


@pytest.mark.parametrize("is_enhanced", [False, True])
def test_every_element_that_a_header_reads_is_compared(tmp_path: Path, is_enhanced: bool) -> None:
    scan = make(tmp_path / "classic", Phantom())
    path = enhance(scan, tmp_path / "x.dcm") if is_enhanced else scan.paths[0]
    dataset = Traced(read_instance(path)[0])
    shared_bytes(dataset)
    compared = set(dataset.read_tags)
    header_of(dataset, path)
    assert len(dataset.read_tags) > 40
    assert dataset.read_tags <= compared | {Tag(keyword) for keyword in PER_SLICE}
    assert compared == set(SHARED)


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_slices_share_a_header_in_all_but_three_fields(tmp_path: Path, syntax: Any) -> None:
    scan = make(tmp_path / "series", Phantom(syntax=syntax))
    headers = [read_headers(path)[0] for path in scan.paths]
    for path, header in zip(scan.paths, headers, strict=True):
        dataset = pydicom.dcmread(path)  # decoded values are never compared as bytes
        list(dataset.iterall())
        assert header_of(dataset, path) == header
    assert len({header.position_mm for header in headers}) == len(headers)


@pytest.mark.parametrize("keyword", FIELDS)
def test_a_slice_that_differs_in_a_field_gets_its_own_value(tmp_path: Path, keyword: str) -> None:
    scan = make(tmp_path / "series", Phantom())
    read_headers(scan.paths[0])
    dataset = pydicom.dcmread(scan.paths[1])
    setattr(dataset, keyword, FIELDS[keyword])
    dataset.save_as(tmp_path / "other.dcm")
    list(dataset.iterall())
    other = read_headers(tmp_path / "other.dcm")[0]
    assert other == header_of(dataset, tmp_path / "other.dcm")
    assert other != read_headers(scan.paths[1])[0]


def decoded(path: Path) -> Any:
    return pydicom.dcmread(path).pixel_array


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
@pytest.mark.parametrize("bits", [8, 16, 32])
@pytest.mark.parametrize("is_signed", [False, True])
def test_native_samples_are_those_of_pydicom(
    tmp_path: Path, syntax: Any, bits: int, is_signed: bool
) -> None:
    scan = make(tmp_path / "series", Phantom(shape=(3, 21, 17), syntax=syntax))
    dataset = pydicom.dcmread(scan.paths[0])
    kind = f"<{'i' if is_signed else 'u'}{bits // 8}"
    samples = dataset.pixel_array.astype(kind)
    content = samples.tobytes()
    dataset.BitsAllocated = dataset.BitsStored = bits
    dataset.HighBit, dataset.PixelRepresentation = bits - 1, int(is_signed)
    dataset.PixelData = content + b"\0" * (len(content) % 2)
    dataset["PixelData"].VR = "OB" if bits == 8 else "OW"
    dataset.save_as(tmp_path / "other.dcm")
    elements, _ = read_instance(tmp_path / "other.dcm")
    own = native_samples(read_headers(tmp_path / "other.dcm")[0], elements)
    assert own is not None
    assert (own == decoded(tmp_path / "other.dcm")).all()
    assert own.dtype == samples.dtype


def longer(dataset: Dataset) -> None:
    dataset.PixelData += b"\0\0"


def followed(dataset: Dataset) -> None:
    dataset.add_new(0xFFFCFFFC, "OB", b"\0\0")


@pytest.mark.parametrize("change", [longer, followed])
def test_pixels_elsewhere_are_left_to_pydicom(tmp_path: Path, change: Any) -> None:
    scan = make(tmp_path / "series", Phantom(change=lambda dataset, _z: change(dataset)))
    for path in scan.paths:
        assert native_samples(read_headers(path)[0], read_instance(path)[0]) is None
    assert (read(scan.paths).volume.array == scan.values).all()


@pytest.mark.parametrize(
    "syntax", [ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian, RLELossless]
)
def test_other_encodings_are_left_to_pydicom(tmp_path: Path, syntax: Any) -> None:
    scan = make(tmp_path / "series", Phantom(syntax=syntax))
    assert native_samples(read_headers(scan.paths[0])[0], read_instance(scan.paths[0])[0]) is None


def test_images_of_other_series_do_not_push_each_other_out(tmp_path: Path) -> None:
    scans = [
        make(tmp_path / str(n), Phantom(shape=(2, 20, 16), tags={"SeriesInstanceUID": f"1.2.{n}"}))
        for n in range(20)
    ]
    for at in range(2):
        for scan in scans:
            header = read_headers(scan.paths[at])[0]
            assert header.series_uid == pydicom.dcmread(scan.paths[at]).SeriesInstanceUID
