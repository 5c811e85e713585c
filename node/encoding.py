"""The form of a SEG: which of its two SOP classes, and with or without empty frames."""

from typing import Literal

import msgspec

EncodingKind = Literal["binary", "labelmap"]


class Encoding(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The form of a SEG: all viewers read BINARY; LABELMAP is smaller, but few viewers read it.

    Some viewers misplace a SEG without its empty frames, others run out of memory with all frames.
    """

    kind: EncodingKind = "binary"
    omit_empty_frames: bool = True
