"""The equipment that makes a SEG, and the form of the SEG."""

from typing import Literal

import msgspec

SEG_SERIES_NUMBER = 9001  # above the numbers that scanners use, and the same for every result


class SegIdentity(msgspec.Struct, frozen=True, kw_only=True):
    """The equipment that made a result, and the root of its UIDs."""

    manufacturer: str
    model_name: str
    serial: str
    software_version: str
    institution: str = ""
    uid_root: str = "2.25"


class Encoding(msgspec.Struct, frozen=True, kw_only=True):
    """The form of a SEG: all viewers read BINARY; LABELMAP is smaller, but few viewers read it.

    Some viewers misplace a SEG without its empty frames, others run out of memory with all frames.
    """

    kind: Literal["binary", "labelmap"] = "binary"
    omit_empty_frames: bool = True
    series_number: int = SEG_SERIES_NUMBER
