"""Requests and reports of storage commitment: read as pydicom writes them, within limits."""

from io import BytesIO

import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from node.commitment import (
    MOST_REFERENCES,
    FailureReason,
    Reference,
    Report,
    Request,
    TooManyReferences,
    read_report,
    read_request,
    reason_name,
    report_dataset,
    request_dataset,
)
from node.dicom.elements import MalformedDataSet
from tests.support.peers import CT, encode

SYNTAXES = (ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian)
A, B, C = (Reference(str(CT), f"1.2.3.{number}") for number in (4, 55, 666))
REPORT = Report("2.25.7", (A, C), ((B, 0x0112),))


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize("is_undefined", [False, True])
def test_a_report_reads_as_it_was_written(syntax: str, is_undefined: bool) -> None:
    dataset = report_dataset(REPORT)
    for keyword in ("ReferencedSOPSequence", "FailedSOPSequence"):
        dataset[keyword].is_undefined_length = is_undefined
        for item in dataset[keyword].value:
            item.is_undefined_length_sequence_item = is_undefined
    dataset.RetrieveAETitle = "PACS"
    assert read_report(memoryview(encode(dataset, syntax)), syntax) == REPORT


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_a_request_reads_as_it_was_written(syntax: str) -> None:
    request = Request("2.25.8", (A, B))
    assert read_request(memoryview(encode(request_dataset(request), syntax)), syntax) == request


def test_an_empty_sequence_is_left_out() -> None:
    assert "FailedSOPSequence" not in report_dataset(Report("2.25.7", (A,), ()))
    assert "ReferencedSOPSequence" not in report_dataset(Report("2.25.7", (), ((A, 1),)))


def test_a_failure_without_a_reason_is_a_processing_failure() -> None:
    dataset = report_dataset(REPORT)
    del dataset.FailedSOPSequence[0].FailureReason
    report = read_report(memoryview(encode(dataset)), ExplicitVRLittleEndian)
    assert report.failed == ((B, FailureReason.PROCESSING_FAILURE),)


@pytest.mark.parametrize("keyword", ["TransactionUID", "ReferencedSOPSequence"])
def test_a_request_without_its_parts_is_malformed(keyword: str) -> None:
    dataset = request_dataset(Request("2.25.8", (A,)))
    delattr(dataset, keyword)
    with pytest.raises(MalformedDataSet):
        read_request(memoryview(encode(dataset)), ExplicitVRLittleEndian)


def test_an_item_without_an_instance_is_malformed() -> None:
    dataset = request_dataset(Request("2.25.8", (A, B)))
    dataset.ReferencedSOPSequence.append(Dataset())
    with pytest.raises(MalformedDataSet):
        read_request(memoryview(encode(dataset)), ExplicitVRLittleEndian)


def test_a_request_that_is_cut_off_anywhere_is_malformed() -> None:
    whole = encode(request_dataset(Request("2.25.8", (A, B))))
    for length in range(len(whole)):
        with pytest.raises(MalformedDataSet):
            read_request(memoryview(whole[:length]), ExplicitVRLittleEndian)


def test_the_number_of_references_is_limited() -> None:
    one = encode(request_dataset(Request("2.25.8", (A,))))
    dataset = pydicom.dcmread(BytesIO(one), force=True)
    dataset.ReferencedSOPSequence = [dataset.ReferencedSOPSequence[0]] * (MOST_REFERENCES + 1)
    with pytest.raises(TooManyReferences):
        read_request(memoryview(encode(dataset)), ExplicitVRLittleEndian)


def test_reasons_have_a_name_and_a_number() -> None:
    assert reason_name(0x0112) == "NO_SUCH_OBJECT_INSTANCE (0x0112)"
    assert reason_name(0xABCD) == "UNKNOWN (0xABCD)"
