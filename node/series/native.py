"""Uncompressed pixels: read them where they lie at the end of a file, and check their length.

pydicom would parse the file a second time for that, which takes longer than all the rest of a
slice. Guarantee: the samples are those that pydicom decodes; any other file gives None.
"""

import struct

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import (
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    UncompressedTransferSyntaxes,
)

from node.series.header import Header
from node.series.stored import Stored

HEAD_BYTES = 12  # of the explicit form (PS3.5 7.1.2); the implicit one has 8
PIXEL_DATA = struct.pack("<HH", 0x7FE0, 0x0010)


def native_samples(header: Header, dataset: Dataset) -> Stored | None:
    """Return the stored samples [row, column]; None if pydicom must decode them.

    Args:
        header: of a single-frame image whose pixel format was checked.
        dataset: the elements before the pixels.
    """
    pixels = header.pixels
    is_single = header.frame is None and header.number_of_frames == 1
    if not is_single or not getattr(dataset, "filename", None):
        return None
    if not header.rows or not header.columns or not pixels.bits_allocated:
        return None
    sample_bytes = pixels.bits_allocated // 8
    length = header.rows * header.columns * sample_bytes
    length += length % 2
    tail = b""
    with header.path.open("rb") as file:
        size = file.seek(0, 2)
        if size > HEAD_BYTES + length:
            file.seek(size - HEAD_BYTES - length)
            tail = file.read()
    if not _is_pixel_data(tail, header.transfer_syntax_uid, length, sample_bytes):
        return None
    kind = f"<{'i' if pixels.representation == 1 else 'u'}{sample_bytes}"
    samples = np.frombuffer(tail, kind, header.rows * header.columns, HEAD_BYTES)
    return samples.reshape(header.rows, header.columns)


def _is_pixel_data(tail: bytes, syntax: str, length: int, sample_bytes: int) -> bool:
    """Check that `tail` is the element Pixel Data with a value of `length` bytes."""
    if syntax == ImplicitVRLittleEndian:
        return tail[4:HEAD_BYTES] == PIXEL_DATA + struct.pack("<I", length)
    vrs = (b"OW",) if sample_bytes > 1 else (b"OW", b"OB")
    return syntax == ExplicitVRLittleEndian and any(
        tail[:HEAD_BYTES] == PIXEL_DATA + struct.pack("<2sHI", vr, 0, length) for vr in vrs
    )


def length_problem(image: Dataset) -> str:
    """Return why uncompressed pixels do not fit rows, columns and frames; empty if they do.

    Bytes of one value behind the pixels are padding (PS3.5 8.1.1); others are pixels, so that rows
    or columns are wrong.
    """
    if image.file_meta.TransferSyntaxUID not in UncompressedTransferSyntaxes:
        return ""
    row = int(image.Columns) * int(image.BitsAllocated) // 8
    expected = int(image.Rows) * row * int(image.get("NumberOfFrames", 1))
    content: bytes = image.PixelData
    behind = content[expected:]
    is_padding = len(behind) < row or behind.count(behind[:1]) == len(behind)
    if len(content) >= expected and is_padding:
        return ""
    return f"Pixel Data has {len(content)} bytes, not {expected}"
