"""The form of a SEG: which of its two SOP classes, and with or without empty frames."""

from typing import Literal

import msgspec

EncodingKind = Literal["binary", "labelmap"]
EncodingChoice = Literal["binary", "labelmap", "auto", "none"]  # of a target


class Encoding(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The form of a SEG: all viewers read BINARY; LABELMAP is smaller, but few viewers read it.

    Some viewers misplace a SEG without its empty frames, others run out of memory with all frames.
    """

    kind: EncodingKind = "binary"
    omit_empty_frames: bool = True


def chosen_encoding(
    choice: EncodingChoice, shape: tuple[int, int, int], *, empty_frames: bool
) -> Encoding:
    """Return the form of a SEG for a target and a series.

    With `none` the SEG stays in the outbox, because the other objects are made from it.

    `auto` avoids BINARY frames that do not begin at a byte: Orthanc does not serve them one by one,
    so that OHIF never shows them. A LABELMAP always has a frame for each slice, for viewers that
    take the first frame for the first slice; in RLE an empty frame is small.

    Args:
        choice: of the target's configuration.
        shape: slices, rows and columns of the series.
        empty_frames: whether the target requires them in BINARY too.
    """
    _, rows, columns = shape
    if choice == "labelmap" or (choice == "auto" and rows * columns % 8):
        return Encoding(kind="labelmap", omit_empty_frames=False)
    return Encoding(kind="binary", omit_empty_frames=not empty_frames)
