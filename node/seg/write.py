"""Encode a finished object as bytes, and write it durably.

The functional groups of a BINARY SEG are bytes already (`node.seg.binary`), and are written as they
are.
The bytes are those that `pydicom.dcmwrite` makes of the same dataset.
"""

import io
import struct
from collections.abc import Sequence

import pydicom
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import (
    correct_ambiguous_vr,
    correct_ambiguous_vr_element,
    write_data_element,
    write_dataset,
)
from pydicom.tag import Tag

PER_FRAME = Tag(0x5200, 0x9230)
BEHIND = Tag(0x5200, 0x9231)
ITEM = struct.pack("<HH", 0xFFFE, 0xE000)
FRAME_CONTENT = Tag(0x0020, 0x9111)
INDEX_VALUES = Tag(0x0020, 0x9157)


def to_bytes(dataset: Dataset) -> bytes:
    """Return the bytes of the Part 10 file; the same object always gives the same bytes."""
    buffer = io.BytesIO()
    if PER_FRAME not in dataset:
        pydicom.dcmwrite(buffer, dataset, enforce_file_format=True)
        return buffer.getvalue()
    if "PixelData" in dataset:  # its VR and length depend on elements in the part before it
        pixels = correct_ambiguous_vr_element(dataset["PixelData"], dataset, is_little_endian=True)
        pixels.is_undefined_length = dataset.file_meta.TransferSyntaxUID.is_encapsulated
    before, behind = dataset[:PER_FRAME], dataset[BEHIND:]
    before.file_meta = dataset.file_meta
    pydicom.dcmwrite(buffer, before, enforce_file_format=True)
    rest = _stream()
    raw = dataset.get_item(PER_FRAME)
    are_bytes = isinstance(raw, RawDataElement) and isinstance(raw.value, bytes)
    items = raw.value if are_bytes else _items(dataset[PER_FRAME].value)
    rest.write(struct.pack("<HH2sHI", 0x5200, 0x9230, b"SQ", 0, len(items)))
    rest.write(items)
    write_dataset(rest, behind)
    buffer.write(rest.getvalue())
    return buffer.getvalue()


def _items(groups: pydicom.Sequence) -> bytes:
    """Return the items of the sequence."""
    items = []
    for group in groups:
        whole = b"".join(encoded(group[tag]) for tag in sorted(group.keys()))
        items.append(ITEM + struct.pack("<I", len(whole)) + whole)
    return b"".join(items)


def encoded(element: DataElement) -> bytes:
    """Encode one element, explicit and little endian."""
    if (content := _content(element)) is not None:
        return content
    stream = _stream()
    if element.VR == "SQ":
        for item in element.value:
            correct_ambiguous_vr(item, is_little_endian=True)
    write_data_element(stream, element)
    return stream.getvalue()


def _content(element: DataElement) -> bytes | None:
    """Encode a Frame Content Sequence with only index values, which every frame has."""
    if element.tag != FRAME_CONTENT or len(element.value) != 1:
        return None
    item = element.value[0]
    if list(item.keys()) != [INDEX_VALUES]:
        return None
    value = item[INDEX_VALUES].value
    return frame_content([int(one) for one in ([value] if isinstance(value, int) else value)])


def frame_content(index: Sequence[int]) -> bytes:
    """Encode a Frame Content Sequence with these Dimension Index Values."""
    inner = struct.pack(f"<HH2sH{len(index)}I", 0x0020, 0x9157, b"UL", 4 * len(index), *index)
    inner = ITEM + struct.pack("<I", len(inner)) + inner
    return struct.pack("<HH2sHI", 0x0020, 0x9111, b"SQ", 0, len(inner)) + inner


def _stream() -> DicomBytesIO:
    stream = DicomBytesIO()
    stream.is_little_endian, stream.is_implicit_VR = True, False
    return stream
