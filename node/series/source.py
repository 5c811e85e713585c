"""Find what pydicom can read of a file: the file, or a copy in which every VR is known.

A file whose elements all have a known VR is read as it is. pydicom loses its way in any other file,
and then finds no pixels: only such a file is followed a second time.
"""

import struct
from io import BytesIO
from pathlib import Path

from pydicom.dataset import Dataset
from pydicom.filereader import read_file_meta_info

from node.dicom.elements import MalformedDataSet
from node.dicom.regular import with_known_vrs
from node.series.values import UNREADABLE

META_AT = 132  # preamble and prefix (PS3.10 7.1)
META_GROUP_LENGTH = struct.pack("<HH2sH", 0x0002, 0x0000, b"UL", 4)


def source_of(dataset: Dataset, path: Path) -> Path | BytesIO:
    """Return the source from which `dataset`, the header of `path`, was read."""
    if getattr(dataset, "filename", None):
        return path
    return readable_copy(path) or path


def readable_copy(path: Path) -> BytesIO | None:
    """Return the content of a file with known VRs; None if all are known, or it is damaged.

    Raises:
        OSError: with an errno of a fault of the machine; trying again may work.
    """
    if not path.is_file():
        return None
    raw = path.read_bytes()
    start = META_AT + len(META_GROUP_LENGTH)
    if raw[META_AT:start] != META_GROUP_LENGTH:
        return None
    start += 4 + int.from_bytes(raw[start : start + 4], "little")
    try:
        syntax = str(read_file_meta_info(path).TransferSyntaxUID)
        data = with_known_vrs(memoryview(raw)[start:], syntax)
    except (MalformedDataSet, *UNREADABLE):
        return None
    return None if data is None else BytesIO(raw[:start] + data)
