"""The head of a DICOM file (PS3.10 7.1): preamble, prefix and file meta information.

Head and data set as received, one after the other, are a Part 10 file; the data set is never
changed. Written here rather than by `pydicom.filewriter`, because every received image waits for
it: `benchmarks/file_head.py` compares both, and a test compares their bytes.
"""

import struct

from node.dicom.elements import padded_text, padded_uid
from node.dicom.uids import IMPLEMENTATION_UID, IMPLEMENTATION_VERSION, LONGEST_UID

CLASS_AT = 132 + 12 + 14 + 8  # after preamble and prefix, group length, version, and its own head
HEAD_BYTES = CLASS_AT + LONGEST_UID  # enough for `sop_class_of`


def file_head(sop_class: str, sop_instance: str, transfer_syntax: str, calling_ae: str) -> bytes:
    """Return preamble, prefix and file meta information, in Explicit VR Little Endian."""
    meta = b"".join(
        (
            struct.pack("<HH2sHI", 0x0002, 0x0001, b"OB", 0, 2) + b"\x00\x01",
            _element(0x0002, b"UI", padded_uid(sop_class)),
            _element(0x0003, b"UI", padded_uid(sop_instance)),
            _element(0x0010, b"UI", padded_uid(transfer_syntax)),
            _element(0x0012, b"UI", padded_uid(IMPLEMENTATION_UID)),
            _element(0x0013, b"SH", padded_text(IMPLEMENTATION_VERSION)),
            _element(0x0016, b"AE", padded_text(calling_ae)),
        )
    )
    return bytes(128) + b"DICM" + _element(0x0000, b"UL", struct.pack("<I", len(meta))) + meta


def sop_class_of(head: bytes) -> str:
    """Return the SOP class in the first bytes of a file that begins with `file_head`."""
    length = int.from_bytes(head[CLASS_AT - 2 : CLASS_AT], "little")
    return head[CLASS_AT : CLASS_AT + length].rstrip(b"\0").decode("ascii", "replace")


def _element(number: int, vr: bytes, value: bytes) -> bytes:
    """Encode an element of group 0002 whose VR has a 16 bit length."""
    return struct.pack("<HH2sH", 0x0002, number, vr, len(value)) + value
