"""An image that claims absurd lengths or sizes is rejected at the door, with its own code."""

import struct

import pytest
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import RLELossless

from node.dicom.bounds import MOST_SHORT_BYTES
from node.listener import StoreStatus
from node.listener.statuses import Unacceptable
from node.listener.structure import identify
from tests.support.peers import EXPLICIT, IMPLICIT, ct, encode


def reason_for(dataset: Dataset, syntax: str) -> str:
    with pytest.raises(Unacceptable) as caught:
        identify(memoryview(encode(dataset, syntax)), syntax)
    assert caught.value.status is StoreStatus.CANNOT_UNDERSTAND
    return str(caught.value.reason)


@pytest.mark.parametrize(
    ("tag", "name"),
    [
        (0x00080005, "(0008,0005)"),  # pydicom decodes the character set while it reads
        (0x00080008, "(0008,0008)"),
        (0x00200032, "(0020,0032)"),
        (0x00280030, "(0028,0030)"),
    ],
)
def test_a_value_longer_than_its_representation_allows_is_rejected(tag: int, name: str) -> None:
    length = MOST_SHORT_BYTES + 2
    long = struct.pack("<HHI", tag >> 16, tag & 0xFFFF, length) + b"1\\" * (length // 2)
    with pytest.raises(Unacceptable) as caught:
        identify(memoryview(long + encode(ct(1), IMPLICIT)), IMPLICIT)
    assert "oversized-value" in str(caught.value.reason)
    assert name in str(caught.value.reason)


@pytest.mark.parametrize("syntax", [IMPLICIT, EXPLICIT])
def test_long_values_of_long_representations_are_kept(syntax: str) -> None:
    dataset = ct(1)
    dataset.add_new("TextValue", "UT", "x" * 100_000)
    dataset.add_new((0x0029, 0x1010), "OB", bytes(100_000))
    identify(memoryview(encode(dataset, syntax)), syntax)


@pytest.mark.parametrize(
    ("side", "is_kept"), [(11_585, True), (11_586, False), (16_000, False), (65_535, False)]
)
def test_a_compressed_frame_that_decodes_to_more_than_the_limit_is_rejected(
    side: int, *, is_kept: bool
) -> None:
    dataset = ct(1)
    dataset.Rows = dataset.Columns = side
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit = 7
    dataset.PixelData = encapsulate([bytes(64)])
    dataset["PixelData"].is_undefined_length = True
    dataset["PixelData"].VR = "OB"
    if is_kept:
        identify(memoryview(encode(dataset, RLELossless)), RLELossless)
    else:
        assert "oversized-image" in reason_for(dataset, RLELossless)
