"""The form of a SEG for a target and the matrix of a series."""

import pytest

from node.encoding import Encoding, EncodingChoice, chosen_encoding

BINARY = Encoding()
FULL_BINARY = Encoding(omit_empty_frames=False)
LABELMAP = Encoding(kind="labelmap", omit_empty_frames=False)


@pytest.mark.parametrize(
    ("choice", "shape", "encoding"),
    [
        ("binary", (20, 512, 512), BINARY),
        ("binary", (20, 45, 37), BINARY),
        ("labelmap", (20, 512, 512), LABELMAP),
        ("auto", (20, 512, 512), BINARY),
        ("auto", (7, 216, 181), BINARY),
        ("auto", (7, 4, 6), BINARY),
        ("auto", (8, 45, 37), LABELMAP),
        ("auto", (16, 181, 217), LABELMAP),
        ("auto", (7, 2, 6), LABELMAP),
    ],
)
def test_auto_avoids_frames_that_do_not_begin_at_a_byte(
    choice: EncodingChoice, shape: tuple[int, int, int], encoding: Encoding
) -> None:
    assert chosen_encoding(choice, shape, empty_frames=False) == encoding


def test_empty_frames_are_a_choice_for_binary_only() -> None:
    shape = (20, 512, 512)
    assert chosen_encoding("binary", shape, empty_frames=True) == FULL_BINARY
    assert chosen_encoding("auto", shape, empty_frames=True) == FULL_BINARY
    assert chosen_encoding("auto", (20, 45, 37), empty_frames=True) == LABELMAP
