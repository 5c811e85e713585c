"""The data sets of storage commitment: the request of an N-ACTION and the report that follows.

Received ones are read without pydicom: only the few UIDs and numbers that are needed.
"""

import enum
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import msgspec
from pydicom.dataset import Dataset

from node.dicom.elements import Element, ElementReader, MalformedDataSet
from node.dicom.uids import LONGEST_UID, is_uid

LARGEST_MESSAGE_BYTES = 4 << 20  # 10 000 references have about 1.5 MB
MOST_REFERENCES = 10_000  # an Enhanced CT has one; a long dynamic series has some thousands

REQUEST_ACTION = 1  # PS3.4 J.3.2: the only action
ALL_COMMITTED, SOME_FAILED = 1, 2  # PS3.4 J.3.3: the events

TRANSACTION = 0x00081195
FAILED_SEQUENCE, REFERENCED_SEQUENCE = 0x00081198, 0x00081199
SOP_CLASS, SOP_INSTANCE, FAILURE_REASON = 0x00081150, 0x00081155, 0x00081197


class FailureReason(enum.IntEnum):
    """Why an instance is not committed (PS3.3 C.14.1.1)."""

    PROCESSING_FAILURE = 0x0110
    NO_SUCH_OBJECT_INSTANCE = 0x0112
    CLASS_INSTANCE_CONFLICT = 0x0119
    CLASS_NOT_SUPPORTED = 0x0122
    DUPLICATE_TRANSACTION_UID = 0x0131
    RESOURCE_LIMITATION = 0x0213


class CommitmentStatus(enum.IntEnum):
    """Statuses with which an N-ACTION or N-EVENT-REPORT is answered (PS3.7 10.1.1 and 10.1.4)."""

    SUCCESS = 0x0000
    PROCESSING_FAILURE = 0x0110
    NO_SUCH_INSTANCE = 0x0112
    NO_SUCH_EVENT = 0x0113
    INVALID_ARGUMENT = 0x0115
    NO_SUCH_CLASS = 0x0118
    CLASS_INSTANCE_CONFLICT = 0x0119
    NO_SUCH_ACTION = 0x0123
    NOT_AUTHORISED = 0x0124
    DUPLICATE_INVOCATION = 0x0210
    UNRECOGNISED_OPERATION = 0x0211
    MISTYPED_ARGUMENT = 0x0212
    RESOURCE_LIMITATION = 0x0213


def status_name(code: int) -> str:
    """Return the name of a status for messages, always with the number."""
    known = code in CommitmentStatus._value2member_map_
    return f"{CommitmentStatus(code).name if known else 'UNKNOWN'} (0x{code:04X})"


def reason_name(code: int) -> str:
    """Return the name of a failure reason for messages, always with the number."""
    known = code in FailureReason._value2member_map_
    return f"{FailureReason(code).name if known else 'UNKNOWN'} (0x{code:04X})"


class Reference(NamedTuple):
    """One instance, by class and instance UID."""

    sop_class: str
    sop_instance: str


class Request(msgspec.Struct, frozen=True):
    """The content of an N-ACTION: the instances whose storage is to be committed."""

    transaction: str
    references: tuple[Reference, ...]


class Report(msgspec.Struct, frozen=True):
    """The content of an N-EVENT-REPORT."""

    transaction: str
    committed: tuple[Reference, ...]
    failed: tuple[tuple[Reference, int], ...]  # with the failure reason

    @property
    def event(self) -> int:
        """The type of the event that carries this report."""
        return SOME_FAILED if self.failed else ALL_COMMITTED


class TooManyReferences(ValueError):
    """A message names more instances than `MOST_REFERENCES`."""


def read_request(data: memoryview, transfer_syntax: str) -> Request:
    """Read the data set of an N-ACTION.

    Raises:
        MalformedDataSet: it is none, or names no instance.
        TooManyReferences: it names too many.
    """
    elements = _elements(data, transfer_syntax)
    references = tuple(item.reference() for item in _items(elements, REFERENCED_SEQUENCE))
    if not references:
        raise MalformedDataSet("no referenced instance")
    return Request(_transaction(elements), references)


def read_report(data: memoryview, transfer_syntax: str) -> Report:
    """Read the data set of an N-EVENT-REPORT.

    Raises:
        MalformedDataSet, TooManyReferences: as `read_request`.
    """
    elements = _elements(data, transfer_syntax)
    return Report(
        _transaction(elements),
        tuple(item.reference() for item in _items(elements, REFERENCED_SEQUENCE)),
        tuple((item.reference(), item.reason()) for item in _items(elements, FAILED_SEQUENCE)),
    )


def request_dataset(request: Request) -> Dataset:
    """Return the data set of an N-ACTION."""
    dataset = Dataset()
    dataset.TransactionUID = request.transaction
    dataset.ReferencedSOPSequence = [_referenced(one) for one in request.references]
    return dataset


def report_dataset(report: Report) -> Dataset:
    """Return the data set of an N-EVENT-REPORT; an empty sequence is left out (PS3.4 J.3.3.1)."""
    dataset = Dataset()
    dataset.TransactionUID = report.transaction
    if report.committed:
        dataset.ReferencedSOPSequence = [_referenced(one) for one in report.committed]
    if report.failed:
        dataset.FailedSOPSequence = [_referenced(one) for one, _ in report.failed]
        for item, (_, reason) in zip(dataset.FailedSOPSequence, report.failed, strict=True):
            item.FailureReason = reason
    return dataset


def _referenced(reference: Reference) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = reference.sop_class
    item.ReferencedSOPInstanceUID = reference.sop_instance
    return item


class _Elements(NamedTuple):
    """The elements of a data set or of an item, by tag."""

    reader: ElementReader
    by_tag: dict[int, Element]
    transfer_syntax: str

    def uid(self, tag: int) -> str:
        element = self.by_tag.get(tag)
        raw = b"" if element is None else self.reader.beginning(element, LONGEST_UID + 2)
        text = raw.rstrip(b"\0 ").decode("ascii", "replace")
        if not is_uid(text):
            raise MalformedDataSet("no UID")
        return text

    def reference(self) -> Reference:
        return Reference(self.uid(SOP_CLASS), self.uid(SOP_INSTANCE))

    def reason(self) -> int:
        element = self.by_tag.get(FAILURE_REASON)
        if element is None:
            return FailureReason.PROCESSING_FAILURE
        return self.reader.whole_number(element)


def _elements(data: memoryview, transfer_syntax: str) -> _Elements:
    reader = ElementReader(data, transfer_syntax)
    return _Elements(reader, {element.tag: element for element in reader}, transfer_syntax)


def _transaction(elements: _Elements) -> str:
    return elements.uid(TRANSACTION)


def _items(elements: _Elements, tag: int) -> Iterator[_Elements]:
    sequence = elements.by_tag.get(tag)
    items: Sequence[memoryview] | Iterator[memoryview] = (
        () if sequence is None else elements.reader.items(sequence)
    )
    for number, item in enumerate(items):
        if number >= MOST_REFERENCES:
            message = f"more than {MOST_REFERENCES} referenced instances"
            raise TooManyReferences(message)
        yield _elements(item, elements.transfer_syntax)
