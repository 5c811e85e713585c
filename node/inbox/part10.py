"""The head of a DICOM file (PS3.10 7.1): preamble, prefix and group 0002.

Promises: head + data set as received is a Part 10 file; the data set itself is never touched.
"""

import struct

IMPLEMENTATION_UID = "2.25.279830310402178406923466171298143052183"  # segnode's own, from a UUID
IMPLEMENTATION_VERSION = "SEGNODE"

_LONG = (b"OB",)  # of the VRs used here, those with a 32 bit length


def file_head(sop_class: str, sop_instance: str, transfer_syntax: str, calling_ae: str) -> bytes:
    """Return preamble, prefix and file meta information, in Explicit VR Little Endian."""
    meta = b"".join(
        (
            _element(0x0001, b"OB", b"\x00\x01"),
            _element(0x0002, b"UI", _uid(sop_class)),
            _element(0x0003, b"UI", _uid(sop_instance)),
            _element(0x0010, b"UI", _uid(transfer_syntax)),
            _element(0x0012, b"UI", _uid(IMPLEMENTATION_UID)),
            _element(0x0013, b"SH", _text(IMPLEMENTATION_VERSION)),
            _element(0x0016, b"AE", _text(calling_ae)),
        )
    )
    return bytes(128) + b"DICM" + _element(0x0000, b"UL", struct.pack("<I", len(meta))) + meta


def _element(number: int, vr: bytes, value: bytes) -> bytes:
    if vr in _LONG:
        return struct.pack("<HH2sHI", 0x0002, number, vr, 0, len(value)) + value
    return struct.pack("<HH2sH", 0x0002, number, vr, len(value)) + value


def _uid(text: str) -> bytes:
    raw = text.encode("ascii")
    return raw + b"\0" * (len(raw) % 2)


def _text(text: str) -> bytes:
    raw = text.encode("ascii", "replace")
    return raw + b" " * (len(raw) % 2)
