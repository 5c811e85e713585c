"""Who makes a SEG, and in which of its forms."""

from typing import Literal

import msgspec

SEG_SERIES_NUMBER = 9001  # a fixed block above what scanners use, and never random


class SegIdentity(msgspec.Struct, frozen=True, kw_only=True):
    """The equipment that a result names as its maker."""

    manufacturer: str
    model_name: str
    serial: str
    software_version: str
    institution: str = ""
    uid_root: str = "2.25"


class Encoding(msgspec.Struct, frozen=True, kw_only=True):
    """What a target can show: BINARY is read everywhere, LABELMAP is small but new.

    Some viewers misplace a SEG whose empty frames are left out, others run out of memory on a full
    one; hence the switch.
    """

    kind: Literal["binary", "labelmap"] = "binary"
    omit_empty_frames: bool = True
    series_number: int = SEG_SERIES_NUMBER
