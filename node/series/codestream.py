"""Compare what a compressed frame says of its size with the header of its image, before decoding.

A decoder believes the compressed frame: kilobytes may claim 65535 x 65535 pixels, and take
gigabytes and minutes. Guarantees: nothing is decoded; a frame that passes has the rows, columns and
samples of its header.
"""

import os
import struct
from contextlib import nullcontext
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, NamedTuple

from pydicom.dataset import Dataset
from pydicom.encaps import generate_frames
from pydicom.filereader import read_partial
from pydicom.tag import BaseTag, Tag
from pydicom.uid import UID, RLELossless

from node.series.values import text, whole_number

JPEG_START, JPEG2000_START = b"\xff\xd8", b"\xff\x4f\xff\x51"
JPEG2000_BOXES = 1024  # some writers put the boxes of a JP2 file before the code stream
SIZE = struct.Struct(">IIII")  # ISO/IEC 15444-1 A.5.1, from Xsiz
COMPONENTS = struct.Struct(">H")
SEGMENT = struct.Struct(">H")  # ISO/IEC 10918-1 B.1.1.4: the length of a marker segment
JPEG_FRAME = struct.Struct(">BHHB")  # B.2.2: precision, lines, samples per line, components
# start of frame: C0 to CF without DHT, JPG and DAC; F7 is that of JPEG-LS (ISO/IEC 14495-1 C.1.1)
STARTS_OF_FRAME = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}
STANDALONE = {0x01, *range(0xD0, 0xD8)}  # markers without a length
PIXEL_DATA = Tag(0x7FE00010)
PIXEL_HEAD_BYTES = 12  # tag, VR and length, which are explicit with every compression (PS3.5 A.4)
MOST_MARKERS = 1000  # before the start of the frame
RLE_OFFSETS = struct.Struct("<16L")  # PS3.5 G.5: number of segments, and where each one starts


class FrameSize(NamedTuple):
    """Rows, columns and samples per pixel."""

    rows: int
    columns: int
    samples: int

    def __str__(self) -> str:
        """Return the size for a message."""
        return f"{self.rows} x {self.columns} pixels of {self.samples} samples"


def problem_of_file(source: Path | BytesIO) -> str:
    """Return why the compressed frames of a file cannot be its own; empty if they can.

    Raises:
        `node.series.values.UNREADABLE`: the file is damaged.
    """
    opened = source.open("rb") if isinstance(source, Path) else nullcontext(source)
    with opened as file:
        file.seek(0)
        dataset = read_partial(file, _at_pixels)
        file.seek(PIXEL_HEAD_BYTES, os.SEEK_CUR)
        return problem_of(dataset, file)


def problem_of(dataset: Dataset, pixel_data: BytesIO | BinaryIO | None = None) -> str:
    """Return why compressed frames cannot be those of `dataset`; empty if they can, or are plain.

    `pixel_data` is a file that stands at the value of the element; None: `dataset` has the element.
    """
    syntax = UID(text(dataset.file_meta, "TransferSyntaxUID"))
    if not syntax.is_encapsulated:
        return ""
    keywords = ("Rows", "Columns", "SamplesPerPixel", "NumberOfFrames")
    rows, columns, samples, number = (whole_number(dataset, word) or 1 for word in keywords)
    size = FrameSize(rows, columns, samples)
    offsets = None
    if "ExtendedOffsetTable" in dataset and "ExtendedOffsetTableLengths" in dataset:
        offsets = (dataset.ExtendedOffsetTable, dataset.ExtendedOffsetTableLengths)
    data = dataset.PixelData if pixel_data is None else pixel_data
    frames = generate_frames(data, number_of_frames=number, extended_offsets=offsets)
    problems = (
        _rle_problem(one, size) if syntax == RLELossless else _size_problem(one, size)
        for one in frames
    )
    return next(filter(None, problems), "")


def _at_pixels(tag: BaseTag, _vr: str | None, _length: int) -> bool:
    return tag == PIXEL_DATA


def _size_problem(frame: bytes, size: FrameSize) -> str:
    stated = _jpeg_size(frame) if frame.startswith(JPEG_START) else _jpeg2000_size(frame)
    if stated is None:
        return "a compressed frame does not state its size"
    return "" if stated == size else f"a compressed frame has {stated}, its header {size}"


def _jpeg_size(frame: bytes) -> FrameSize | None:
    at = len(JPEG_START)
    for _ in range(MOST_MARKERS):
        while frame[at : at + 2] == b"\xff\xff":  # fill bytes (B.1.1.2)
            at += 1
        if frame[at : at + 1] != b"\xff" or at + 4 > len(frame):
            return None
        marker = frame[at + 1]
        if marker in STARTS_OF_FRAME and at + 4 + JPEG_FRAME.size <= len(frame):
            _, rows, columns, samples = JPEG_FRAME.unpack_from(frame, at + 4)
            return FrameSize(rows, columns, samples)
        at += 2 if marker in STANDALONE else 2 + SEGMENT.unpack_from(frame, at + 2)[0]
    return None


def _jpeg2000_size(frame: bytes) -> FrameSize | None:
    start = frame.find(JPEG2000_START, 0, JPEG2000_BOXES)
    at = start + len(JPEG2000_START) + 4  # after length and capabilities
    if start < 0 or at + 34 > len(frame):
        return None
    right, bottom, left, top = SIZE.unpack_from(frame, at)
    return FrameSize(bottom - top, right - left, COMPONENTS.unpack_from(frame, at + 32)[0])


def _rle_problem(frame: bytes, size: FrameSize) -> str:
    """Limit the length of the segments: each byte of a plane takes two at most (PS3.5 G.3)."""
    if len(frame) < RLE_OFFSETS.size:
        return "a compressed frame is cut off"
    count, *starts = RLE_OFFSETS.unpack_from(frame)
    ends = [*starts[1:count], len(frame)]
    most = 2 * size.rows * size.columns + 2
    longest = max((end - start for start, end in zip(starts, ends, strict=False)), default=0)
    return f"a segment of a compressed frame has {longest} bytes" if longest > most else ""
