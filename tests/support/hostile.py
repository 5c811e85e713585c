"""Images that harm their reader, although each of their values is short."""

import struct
from pathlib import Path

import pydicom
from pydicom.encaps import encapsulate
from pydicom.uid import ImplicitVRLittleEndian, RLELossless

EMPTY_ITEM = struct.pack("<HHI", 0xFFFE, 0xE000, 0)


def with_many_items(path: Path, items: int = 400_000) -> Path:
    """Give an image a sequence of empty items: 3 MB that take 10 s and 600 MB to parse."""
    dataset = pydicom.dcmread(path)
    dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    dataset.add_new("DerivationCodeSequence", "UN", EMPTY_ITEM * items)
    pydicom.dcmwrite(path, dataset, implicit_vr=True, little_endian=True)
    return path


def of_one_large_frame(path: Path, syntax: str, edge: int = 8192) -> Path:
    """Give an image one frame of `edge` x `edge` bytes: 64 MiB."""
    dataset = pydicom.dcmread(path)
    dataset.Rows = dataset.Columns = edge
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit = 7
    if syntax == RLELossless:
        frame = struct.pack("<16L", 1, 64, *[0] * 14) + b"\x81\x00" * (edge * edge // 128)
        dataset.PixelData = encapsulate([frame])
        dataset["PixelData"].is_undefined_length = True
    else:
        dataset.PixelData = bytes(edge * edge)
    dataset["PixelData"].VR = "OB"
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.save_as(path)
    return path


def slow_to_decode(path: Path, frames: int = 24, padding: int = 0) -> Path:
    """Make an RLE image of `frames` frames of 4096 x 4096 zeros, which take a second each."""
    dataset = pydicom.dcmread(path)
    dataset.Rows = dataset.Columns = 4096
    dataset.NumberOfFrames = frames
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit = 7
    frame = struct.pack("<16L", 1, 64, *[0] * 14) + b"\x81\x00" * (4096 * 32) + b"\x80" * padding
    dataset.PixelData = encapsulate([frame] * frames)
    dataset["PixelData"].is_undefined_length = True
    dataset["PixelData"].VR = "OB"
    dataset.file_meta.TransferSyntaxUID = RLELossless
    dataset.save_as(path)
    return path


def jpeg_frame(marker: int, rows: int, columns: int, samples: int = 1) -> bytes:
    """Return the beginning of a JPEG or JPEG-LS frame of this size; nothing follows."""
    size = struct.pack(">HBHHB", 8 + 3 * samples & 0xFFFF, 16, rows, columns, samples)
    comment = b"\xff\xfe\x00\x04ab"
    return b"\xff\xd8" + comment + b"\xff\xff" + bytes([marker]) + size + bytes(3 * samples)


def jpeg2000_frame(rows: int, columns: int) -> bytes:
    """Return the beginning of a JPEG 2000 code stream of this size; nothing follows."""
    size = struct.pack(">IIIIIIIIH", columns, rows, 0, 0, columns, rows, 0, 0, 1)
    return b"\xff\x4f\xff\x51" + struct.pack(">HH", 41, 0) + size + b"\x0f\x01\x01"


def rle_frame(segment: bytes) -> bytes:
    """Return an RLE frame with one segment."""
    return struct.pack("<16L", 1, 64, *[0] * 14) + segment
