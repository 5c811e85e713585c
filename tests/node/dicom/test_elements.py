"""Elements are followed to the end of a data set, within bounds."""

import struct

import pytest
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from node.dicom import elements
from node.dicom.elements import ElementReader, MalformedDataSet
from tests.support.peers import BIG, EXPLICIT, IMPLICIT, ct, encode


@pytest.mark.parametrize("syntax", [IMPLICIT, EXPLICIT, BIG])
def test_the_elements_are_those_of_the_data_set(syntax: str) -> None:
    dataset = ct(1, size=8)
    reader = ElementReader(memoryview(encode(dataset, syntax)), syntax)
    by_tag = {element.tag: element for element in reader}
    assert list(by_tag) == sorted(int(element.tag) for element in dataset)
    assert reader.whole_number(by_tag[0x00280010]) == 8
    assert reader.beginning(by_tag[0x00080060], 64) == b"CT"
    assert by_tag[elements.PIXEL_DATA].length == 2 * 8 * 8


def test_a_number_of_another_length_is_refused() -> None:
    data = struct.pack("<HHI", 0x0028, 0x0010, 4) + bytes(4)
    reader = ElementReader(memoryview(data), ImplicitVRLittleEndian)
    (element,) = reader
    with pytest.raises(MalformedDataSet):
        reader.whole_number(element)


def test_many_elements_that_begin_with_a_zero_are_read_once() -> None:
    """Each one could be the beginning of padding: scanning to the end each time takes hours."""
    groups = (struct.pack("<H", 0x8000 + (group << 8)) for group in range(6))
    numbers = [struct.pack("<HI", number, 0) for number in range(0x10000)]
    many = b"".join(group + number for group in groups for number in numbers)
    data = memoryview(encode(ct(1), IMPLICIT) + many + bytes(7))
    assert sum(element.tag >= 0x80000000 for element in ElementReader(data, IMPLICIT)) == 6 << 16


def test_zeros_before_another_element_are_no_padding() -> None:
    data = memoryview(encode(ct(1), IMPLICIT) + bytes(8) + struct.pack("<HHI", 0x8000, 1, 0))
    with pytest.raises(MalformedDataSet, match="cannot be in a data set"):
        list(ElementReader(data, IMPLICIT))


def test_sequences_are_bounded_in_depth() -> None:
    sequence = struct.pack("<HH2sHI", 0x0008, 0x1140, b"SQ", 0, elements.UNDEFINED)
    item = struct.pack("<HHI", 0xFFFE, 0xE000, elements.UNDEFINED)
    data = memoryview((sequence + item) * elements.MOST_NESTED)
    with pytest.raises(MalformedDataSet, match="nested"):
        list(ElementReader(data, ExplicitVRLittleEndian))


def test_the_number_of_elements_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(elements, "MOST_ELEMENTS", 5)
    data = memoryview(encode(ct(1), IMPLICIT))
    with pytest.raises(MalformedDataSet, match="more than 5"):
        list(ElementReader(data, IMPLICIT))
