"""Files with elements whose VR is blank or unknown are read as if the VR was there."""

import struct
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pydicom
import pytest

from node import series
from node.dicom.file_meta import file_head
from node.errors import Unsuitable
from node.listener.structure import identify
from node.series import read_headers, same_image
from tests.support.peers import BIG, CT, EXPLICIT, ct, encode
from tests.support.phantoms import Scan

NAME = 0x00100010
BLANK, NULLS, UNKNOWN, INVENTED = b"  ", b"\0\0", b"??", b"XX"
Insert = Callable[[str], bytes]  # by byte order


def short(vr: bytes, tag: int = 0x00091001, value: bytes = b"abcd") -> Insert:
    return lambda order: struct.pack(
        f"{order}HH2sH", tag >> 16, tag & 0xFFFF, vr, len(value)
    ) + value  # fmt: skip


def long(vr: bytes, value: bytes = b"abcd") -> Insert:
    return lambda order: struct.pack(f"{order}HH2sHI", 9, 0x1001, vr, 0, len(value)) + value


def implicit(value: bytes) -> Insert:
    return lambda order: struct.pack(f"{order}HHI", 9, 0x1001, len(value)) + value


def several(order: str) -> bytes:
    return b"".join(short(BLANK, 0x00091001 + number)(order) for number in range(5))


def in_an_item(order: str) -> bytes:
    begin = struct.pack(f"{order}HH2sHI", 8, 0x1140, b"SQ", 0, 0xFFFFFFFF)
    item = struct.pack(f"{order}HHI", 0xFFFE, 0xE000, 0xFFFFFFFF)
    ends = struct.pack(f"{order}HHIHHI", 0xFFFE, 0xE00D, 0, 0xFFFE, 0xE0DD, 0)
    return begin + item + short(BLANK)(order) + ends


UGLY: dict[str, Insert] = {
    "blank": short(BLANK),
    "null": short(NULLS),
    "unknown": short(UNKNOWN),
    "invented, 16 bit length": short(INVENTED),
    "lower case": short(b"lo"),
    "blank, empty": short(BLANK, value=b""),
    "blank, large": short(BLANK, value=b"ab" * 20_000),
    "blank, public": short(BLANK, 0x00081040),
    "blank, 32 bit length": long(BLANK),
    "null, 32 bit length": long(NULLS),
    "unknown, 32 bit length": long(UNKNOWN, b"ab" * 40_000),
    "invented, 32 bit length": long(INVENTED),
    "implicit": implicit(b"abcd"),
    "implicit, its length looks like a VR": implicit(b"a" * 0x4142),
    "several": several,
    "in an item": in_an_item,
}


def inserted(data: bytes, insert: Insert, syntax: str) -> bytes:
    """Return a data set with more bytes before the Patient's Name."""
    order = ">" if syntax == BIG else "<"
    at = data.index(struct.pack(f"{order}HH", NAME >> 16, NAME & 0xFFFF))
    return data[:at] + insert(order) + data[at:]


@pytest.mark.parametrize("syntax", [EXPLICIT, BIG])
@pytest.mark.parametrize("insert", UGLY.values(), ids=UGLY)
def test_an_element_without_a_known_vr_is_kept_and_hides_nothing(
    tmp_path: Path, insert: Insert, syntax: str
) -> None:
    plain = encode(ct(1), syntax)
    ugly = inserted(plain, insert, syntax)
    identity = identify(memoryview(ugly), syntax)
    head = file_head(CT, identity.sop_instance, syntax, "MODALITY")
    paths = tmp_path / "plain.dcm", tmp_path / "ugly.dcm"
    for path, data in zip(paths, (plain, ugly), strict=True):
        path.write_bytes(head + data)
    (expected,), (read_header,) = (read_headers(path) for path in paths)
    assert msgspec.structs.replace(read_header, path=expected.path) == expected
    assert same_image(*paths)
    assert paths[1].read_bytes() == head + ugly, "the file stays as it was received"


def test_the_pixels_of_such_files_are_those_of_the_scan(tmp_path: Path, head: Scan) -> None:
    expected = series.read(head.paths)
    for path in head.paths[::2]:
        path.write_bytes(inserted(path.read_bytes(), short(BLANK), EXPLICIT))
        with pytest.raises(Exception):  # noqa: B017, PT011  pydicom's own, by version
            pydicom.dcmread(path).pixel_array  # noqa: B018
    read_series = series.read(head.paths)
    np.testing.assert_array_equal(read_series.volume.array, expected.volume.array)
    assert [dataset.PatientID for dataset in read_series.datasets] == [
        dataset.PatientID for dataset in expected.datasets
    ]


def test_a_blank_number_of_frames_is_one_frame(tmp_path: Path, head: Scan) -> None:
    expected = series.read(head.paths)
    for path in head.paths:
        image = pydicom.dcmread(path)
        image.NumberOfFrames = ""
        image.save_as(path)
        raw = path.read_bytes()
        empty = struct.pack("<HH2sH", 0x0028, 0x0008, b"IS", 0)
        path.write_bytes(raw.replace(empty, empty[:-2] + b"\2\0  "))
    np.testing.assert_array_equal(series.read(head.paths).volume.array, expected.volume.array)


def test_a_damaged_file_stays_unreadable(tmp_path: Path) -> None:
    ugly = inserted(encode(ct(1)), short(BLANK), EXPLICIT)
    path = tmp_path / "cut.dcm"
    path.write_bytes(file_head(CT, "1.2.3", EXPLICIT, "MODALITY") + ugly[:-2000])
    with pytest.raises(Unsuitable):
        read_headers(path)
