"""Encode a finished object as bytes, and write it durably.

A SEG of the brain has a thousand frames with seven sequences each, and most sequences are equal:
frames of one slice name the same image at the same place. `to_bytes` encodes shared elements once.
The bytes are those that `pydicom.dcmwrite` makes of the same dataset.
"""

import io
import struct

import pydicom
from pydicom.dataelem import DataElement
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
    items = _items(dataset[PER_FRAME].value)
    rest.write(struct.pack("<HH2sHI", 0x5200, 0x9230, b"SQ", 0, len(items)))
    rest.write(items)
    write_dataset(rest, behind)
    buffer.write(rest.getvalue())
    return buffer.getvalue()


def _items(groups: pydicom.Sequence) -> bytes:
    """Return the items of the sequence; an element that items share is encoded once."""
    known: dict[int, bytes] = {}
    encoded = []
    for group in groups:
        parts = []
        for tag in sorted(group.keys()):
            element = group[tag]
            # the sequence keeps its elements alive, so ids stay unique
            part = known.get(id(element))
            if part is None:
                part = known[id(element)] = _element(element)
            parts.append(part)
        whole = b"".join(parts)
        encoded.append(ITEM + struct.pack("<I", len(whole)) + whole)
    return b"".join(encoded)


def _element(element: DataElement) -> bytes:
    if (encoded := _content(element)) is not None:
        return encoded
    stream = _stream()
    if element.VR == "SQ":
        for item in element.value:
            correct_ambiguous_vr(item, is_little_endian=True)
    write_data_element(stream, element)
    return stream.getvalue()


def _content(element: DataElement) -> bytes | None:
    """Encode a Frame Content Sequence with only index values, which no two frames share."""
    if element.tag != FRAME_CONTENT or len(element.value) != 1:
        return None
    item = element.value[0]
    if list(item.keys()) != [INDEX_VALUES]:
        return None
    value = item[INDEX_VALUES].value
    values = [int(one) for one in ([value] if isinstance(value, int) else value)]
    inner = struct.pack(f"<HH2sH{len(values)}I", 0x0020, 0x9157, b"UL", 4 * len(values), *values)
    inner = ITEM + struct.pack("<I", len(inner)) + inner
    return struct.pack("<HH2sHI", 0x0020, 0x9111, b"SQ", 0, len(inner)) + inner


def _stream() -> DicomBytesIO:
    stream = DicomBytesIO()
    stream.is_little_endian, stream.is_implicit_VR = True, False
    return stream
