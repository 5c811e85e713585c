"""Values and pixels are refused by their claimed size, before pydicom converts or decodes them."""

import struct
from pathlib import Path

import pydicom
import pytest
from pydicom.encaps import encapsulate
from pydicom.uid import ImplicitVRLittleEndian, RLELossless

from node.dicom.bounds import MOST_VALUE_BYTES
from node.errors import OversizedImage, OversizedValue
from node.series import read_headers, same_image
from tests.support.phantoms import Phantom, make


def with_long_value(path: Path, keyword: str, values: int) -> Path:
    """Replace an element by one with `values` values, in Implicit VR."""
    dataset = pydicom.dcmread(path)
    dataset.add_new(keyword, "UN", b"1\\" * values + b"1 ")
    dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    pydicom.dcmwrite(path, dataset, implicit_vr=True, little_endian=True)
    return path


def huge(path: Path, side: int, padding: int = 0, frames: int = 1) -> Path:
    """Claim an RLE image of `side` x `side` bytes, whose runs are all zero."""
    runs, rest = divmod(side * side, 128)
    segment = b"\x81\x00" * runs + (bytes([257 - rest, 0]) if rest > 1 else b"")
    segment += b"\x80" * padding
    dataset = pydicom.dcmread(path)
    dataset.Rows = dataset.Columns = side
    dataset.NumberOfFrames = frames
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit = 7
    dataset.PixelData = encapsulate([struct.pack("<16L", 1, 64, *[0] * 14) + segment])
    dataset["PixelData"].is_undefined_length = True
    dataset["PixelData"].VR = "OB"
    dataset.file_meta.TransferSyntaxUID = RLELossless
    dataset.save_as(path)
    return path


@pytest.fixture
def image(tmp_path: Path) -> Path:
    return make(tmp_path, Phantom(shape=(2, 20, 16))).paths[0]


@pytest.mark.parametrize(
    "keyword", ["ImagePositionPatient", "ImageType", "SeriesDescription", "DiffusionBValue"]
)
def test_a_long_value_is_refused_by_name(image: Path, keyword: str) -> None:
    with pytest.raises(OversizedValue) as caught:
        read_headers(with_long_value(image, keyword, 1 << 20))
    assert keyword in caught.value.message


def test_a_value_up_to_the_limit_is_read(image: Path) -> None:
    path = with_long_value(image, "ImageType", MOST_VALUE_BYTES // 2 - 1)
    assert len(read_headers(path)[0].image_type) == MOST_VALUE_BYTES // 2


def test_long_values_that_the_node_does_not_read_are_no_problem(image: Path) -> None:
    assert read_headers(with_long_value(image, "AcquisitionComments", 10_000))


def test_long_values_of_two_copies_are_compared_as_bytes(image: Path, tmp_path: Path) -> None:
    one = with_long_value(image, "FrameTimeVector", 10_000)
    other = tmp_path / "copy"
    other.write_bytes(one.read_bytes())
    assert same_image(one, other)
    assert not same_image(one, with_long_value(other, "FrameTimeVector", 9_999))


def test_a_frame_that_decodes_to_too_much_is_refused(image: Path) -> None:
    with pytest.raises(OversizedImage):
        read_headers(huge(image, 16_000))


def test_frames_that_decode_to_too_much_together_are_refused(image: Path) -> None:
    assert read_headers(huge(image, 4096, frames=1000))
    with pytest.raises(OversizedImage):
        read_headers(huge(image, 4096, frames=1025))


def test_two_huge_copies_are_not_decoded(image: Path, tmp_path: Path) -> None:
    other = tmp_path / "copy"
    other.write_bytes(image.read_bytes())
    assert not same_image(huge(image, 16_000), huge(other, 16_000, padding=2))
