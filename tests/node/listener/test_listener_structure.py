"""Truncated, incomplete and contradictory data sets are rejected with the reason."""

import struct
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.uid import JPEG2000Lossless

from node.listener import StoreStatus
from node.listener.statuses import Unacceptable
from node.listener.structure import identify
from tests.support.peers import BIG, CT, EXPLICIT, IMPLICIT, SERIES, STUDY, ct, encode

J2K = JPEG2000Lossless


@pytest.mark.parametrize("syntax", [IMPLICIT, EXPLICIT, BIG])
def test_a_complete_data_set_is_identified(syntax: str) -> None:
    identity = identify(memoryview(encode(ct(1), syntax)), syntax)
    assert (identity.sop_class, identity.sop_instance) == (CT, f"{SERIES}.1")
    assert (identity.study, identity.series) == (STUDY, SERIES)


@pytest.mark.parametrize("syntax", [IMPLICIT, EXPLICIT, BIG])
def test_each_truncation_is_rejected(syntax: str) -> None:
    whole = encode(ct(1, size=4), syntax)
    for length in range(len(whole)):
        with pytest.raises(Unacceptable):
            identify(memoryview(whole)[:length], syntax)


@pytest.mark.parametrize(
    "name",
    [
        "CT_small.dcm",
        "MR_small.dcm",
        "MR_small_bigendian.dcm",
        "MR_small_implicit.dcm",
        "JPEG2000.dcm",
        "MR_small_RLE.dcm",
        "MR_small_jpeg_ls_lossless.dcm",
        "rtdose.dcm",
        "rtplan.dcm",
        "reportsi.dcm",
        "SC_ybr_full_422_uncompressed.dcm",
        "liver_1frame.dcm",
        "JPEG-lossy.dcm",
        "examples_rgb_color.dcm",
        "examples_ybr_color.dcm",
        "waveform_ecg.dcm",
        "test-SR.dcm",
    ],
)
def test_real_files_pass(name: str) -> None:
    path = get_testdata_file(name)
    assert path is not None
    meta = dcmread(path, stop_before_pixels=True).file_meta
    raw = Path(path).read_bytes()
    data = raw[144 + meta.FileMetaInformationGroupLength :]
    whole = dcmread(path)
    identity = identify(memoryview(data), str(meta.TransferSyntaxUID))
    assert identity.sop_instance == whole.SOPInstanceUID


def without(*keywords: str) -> Dataset:
    dataset = ct(1)
    for keyword in keywords:
        del dataset[keyword]
    return dataset


def changed(**values: object) -> Dataset:
    dataset = ct(1)
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    return dataset


@pytest.mark.parametrize(
    ("dataset", "reason"),
    [
        (without("SOPInstanceUID"), "no SOP Instance UID"),
        (without("StudyInstanceUID"), "no Study Instance UID"),
        (without("SeriesInstanceUID"), "no Series Instance UID"),
        (without("PixelData"), "without pixel data"),
        (changed(PixelData=bytes(100)), "less pixel data"),
        (changed(NumberOfFrames=2), "less pixel data"),
        (changed(PixelData=b""), "less pixel data"),
    ],
)
def test_the_reason_names_the_missing_part(dataset: Dataset, reason: str) -> None:
    with pytest.raises(Unacceptable, match=reason) as caught:
        identify(memoryview(encode(dataset)), EXPLICIT)
    assert caught.value.status is StoreStatus.CANNOT_UNDERSTAND
    assert caught.value.study in (STUDY, "")


def test_a_path_is_not_a_uid() -> None:
    raw = encode(ct(1)).replace(f"{SERIES}.1".encode(), b"../" * 9 + b"tx")
    with pytest.raises(Unacceptable, match="not a UID"):
        identify(memoryview(raw), EXPLICIT)


def compressed(fragments: bytes, frames: int = 1) -> bytes:
    dataset = ct(1)
    dataset.NumberOfFrames = frames
    dataset.PixelData = fragments
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    buffer = DicomBytesIO()
    buffer.is_little_endian, buffer.is_implicit_VR = True, False
    write_dataset(buffer, dataset)
    return bytes(buffer.getvalue())


def test_encapsulated_frames_are_counted() -> None:
    whole = compressed(encapsulate([b"ab" * 50] * 3), frames=3)
    assert identify(memoryview(whole), J2K).series == SERIES
    with pytest.raises(Unacceptable, match="fewer fragments"):
        identify(memoryview(compressed(encapsulate([b"ab" * 50] * 2), frames=3)), J2K)
    for length in range(len(whole)):
        with pytest.raises(Unacceptable):
            identify(memoryview(whole)[:length], J2K)


def test_pixel_data_must_be_encoded_as_the_syntax_says() -> None:
    with pytest.raises(Unacceptable, match="transfer syntax"):
        identify(memoryview(encode(ct(1))), J2K)
    with pytest.raises(Unacceptable, match="transfer syntax"):
        identify(memoryview(compressed(encapsulate([b"ab"]))), EXPLICIT)


def element(tag: int, vr: bytes, length: int, value: bytes = b"") -> bytes:
    return struct.pack("<HH2s2xI", tag >> 16, tag & 0xFFFF, vr, length) + value


@pytest.mark.parametrize(
    "tail",
    [
        element(0x7FE10010, b"OB", 0xFFFFFFF0, b"ab"),
        element(0x7FE10010, b"OB", 0xFFFFFFFF, b"ab"),
        element(0x7FE10010, b"SQ", 0xFFFFFFFF) + bytes.fromhex("feff00e0ffffffff") * 3,
        b"\xe1\x7f\x10\x00??\x01\x00",
        bytes.fromhex("feff0de000000000"),
        bytes.fromhex("0200100055490000"),
        b"\0\1",
    ],
)
def test_extra_bytes_at_the_end_are_rejected(tail: bytes) -> None:
    with pytest.raises(Unacceptable):
        identify(memoryview(encode(ct(1)) + tail), EXPLICIT)


def test_deep_nesting_ends_without_recursion() -> None:
    deep = (
        element(0x7FE10010, b"SQ", 0xFFFFFFFF)
        + (bytes.fromhex("feff00e0ffffffff") + element(0x7FE10010, b"SQ", 0xFFFFFFFF)) * 5000
    )
    with pytest.raises(Unacceptable, match="nested"):
        identify(memoryview(encode(ct(1)) + deep), EXPLICIT)


def test_a_repeated_uid_is_rejected() -> None:
    dataset = encode(ct(1))
    again = struct.pack("<HH2sH", 0x0008, 0x0018, b"UI", 4) + b"1.2\0"
    with pytest.raises(Unacceptable, match="twice"):
        identify(memoryview(again + dataset), EXPLICIT)


PIXEL_BYTES, FEWER = struct.pack("<I", 2048), struct.pack("<I", 2046)
ROWS = struct.pack("<HH2sHH", 0x0028, 0x0010, b"US", 2, 32)


def with_rows(vr: bytes, value: bytes) -> bytes:
    """Return a data set whose Rows have another VR."""
    element = struct.pack("<HH2sH", 0x0028, 0x0010, vr, len(value)) + value
    return encode(ct(1)).replace(ROWS, element, 1)


@pytest.mark.parametrize(
    "data",
    [
        with_rows(b"UL", struct.pack("<I", 32)),
        with_rows(b"SL", struct.pack("<i", 32)),
        with_rows(b"SS", struct.pack("<h", 32)),
        with_rows(b"IS", b"32"),
        with_rows(b"IS", b" 032"),
        with_rows(b"IS", b"+32 "),
        encode(ct(1)).replace(ROWS, ROWS + ROWS, 1),
        encode(ct(1)).replace(ROWS, struct.pack("<HH2sH", 0x28, 8, b"IS", 2) + b"+1" + ROWS, 1),
        encode(ct(1)).replace(ROWS, struct.pack("<HH2sHH", 0x28, 8, b"US", 2, 1) + ROWS, 1),
    ],
    ids=["UL", "SL", "SS", "IS", "IS, zero", "IS, sign", "twice", "frames, sign", "frames, US"],
)
def test_a_number_in_another_form_is_understood(data: bytes) -> None:
    assert identify(memoryview(data), EXPLICIT).sop_instance == f"{SERIES}.1"
    with pytest.raises(Unacceptable):  # its size is still checked
        identify(
            memoryview(data.replace(struct.pack("<H", 2048), struct.pack("<H", 2046))), EXPLICIT
        )


@pytest.mark.parametrize(
    "rows", [ROWS + ROWS[:-2] + b"\1\0", with_rows(b"US", bytes(4)), with_rows(b"US", b"")]
)
def test_numbers_that_contradict_or_say_nothing_are_rejected(rows: bytes) -> None:
    data = rows if len(rows) > 100 else encode(ct(1)).replace(ROWS, rows, 1)
    with pytest.raises(Unacceptable, match=r"\(0028,0010\)"):
        identify(memoryview(data), EXPLICIT)


TAIL_TAG = struct.pack("<HH", 0x0010, 0x0010)  # Patient's Name, in the middle of `ct`
META = struct.pack("<HH2sH", 0x0002, 0x0010, b"UI", 20)


def with_private(element: bytes) -> bytes:
    """Return a data set with a private element before the Patient's Name."""
    whole = encode(ct(1))
    at = whole.index(TAIL_TAG)
    return whole[:at] + element + whole[at:]


@pytest.mark.parametrize(
    "data",
    [
        with_private(struct.pack("<HH2sH", 0x0009, 0x1001, b"  ", 4) + b"abcd"),
        with_private(struct.pack("<HHI", 0x0009, 0x1001, 4) + b"abcd"),
        encode(ct(1)) + bytes(64),
        encode(ct(1)) + b"\0",
        META + EXPLICIT.encode() + b"\0" + encode(ct(1)),
    ],
    ids=["blank VR", "implicit element", "zeros at the end", "one zero", "file meta information"],
)
def test_a_data_set_that_is_complete_but_ugly_is_identified(data: bytes) -> None:
    assert identify(memoryview(data), EXPLICIT).sop_instance == f"{SERIES}.1"
    for length in range(len(encode(ct(1))) - 100):
        with pytest.raises(Unacceptable):
            identify(memoryview(data)[:length], EXPLICIT)


def test_zeros_instead_of_elements_are_rejected() -> None:
    whole = encode(ct(1))
    for at in (whole.index(TAIL_TAG), len(whole) - 2048 - 12):
        with pytest.raises(Unacceptable):
            identify(memoryview(whole[:at] + bytes(len(whole) - at)), EXPLICIT)


def test_file_meta_information_with_another_syntax_is_rejected() -> None:
    data = META + J2K.encode()[:19] + b"\0" + encode(ct(1))
    with pytest.raises(Unacceptable, match="another transfer syntax"):
        identify(memoryview(data), EXPLICIT)


def test_a_rejection_names_tag_and_offset() -> None:
    whole = encode(ct(1))
    with pytest.raises(Unacceptable, match=r"\(7FE0,0010\)") as caught:
        identify(memoryview(whole)[:-7], EXPLICIT)
    assert str(len(whole) - 2048 - 12) in caught.value.advice
    bad = struct.pack("<HH2sH", 0x0009, 0x1001, b"  ", 40) + b"abcd"
    with pytest.raises(Unacceptable, match=r"\(0009,1001\)") as caught:
        identify(memoryview(with_private(bad)), EXPLICIT)
    assert str(whole.index(TAIL_TAG)) in caught.value.advice
