"""Parts of the listener without network: statuses, callers, contexts, spool."""

from pathlib import Path

import pytest
import yaml
from pydicom.uid import DeflatedExplicitVRLittleEndian, JPEG2000Lossless
from pynetdicom.presentation import build_context
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelFind
from pynetdicom.status import STORAGE_SERVICE_CLASS_STATUS

from node import disk
from node.dicom.uids import LABELMAP_SEG_CLASS, VERIFICATION_CLASS
from node.errors import DiskLow
from node.inbox import Inbox, Note
from node.listener import StoreStatus, spool
from node.listener import pace as pace_module
from node.listener.callers import Slots, plain_host, rejection, yaml_line
from node.listener.contexts import TRANSFER_SYNTAXES, described, is_storage, supported
from node.listener.pace import BURST, PER_SECOND, Pace
from node.listener.reports import WINDOW_SECONDS, Reports
from node.listener.request import title
from node.listener.spool import Spool
from tests.support.peers import (
    CT,
    EXPLICIT,
    IMPLICIT,
    configuration,
    known,
)

J2K = JPEG2000Lossless
FIND = StudyRootQueryRetrieveInformationModelFind


class Clock:
    """A clock that a test sets."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"CT01            ", "CT01"),
        (b"CT01\0\0\0\0\0\0\0\0\0\0\0\0", "CT01"),
        (b"CT01\0        xyz", "CT01"),
        (b"  CT 01         ", "CT 01"),
        (b"R\xd6NTGEN         ", "R?NTGEN"),
        (b"CT\n\\01          ", "CT??01"),
        (b"                ", ""),
        (bytes(16), ""),
    ],
)
def test_a_title_ends_at_a_null_byte_and_has_plain_characters(raw: bytes, expected: str) -> None:
    assert title(raw) == expected


@pytest.mark.parametrize(
    ("uid", "expected"),
    [
        (CT, True),
        ("1.3.46.670589.11.0.0.12.1", True),  # private, of Philips
        ("1.2.840.10008.5.1.4.1.1.999", True),  # of an edition to come
        ("1.2.840.10008.5.1.4.1.1.6", True),
        (FIND, False),
        ("1.2.840.10008.1.20.1", False),  # storage commitment
        ("1.2.840.10008.1.3.10", False),  # of media
        ("1.2.840.10008.5.1.1.9", False),  # print
        (EXPLICIT, False),
        (VERIFICATION_CLASS, False),
        ("not a uid", False),
    ],
)
def test_every_class_but_those_of_other_services_is_one_for_storage(
    uid: str, *, expected: bool
) -> None:
    assert is_storage(uid) is expected


def test_rejected_contexts_are_named_with_the_reason() -> None:
    proposed = [build_context(f"{CT}.{number}") for number in range(4)]
    text = described([build_context(FIND), *proposed])
    assert "no class for storage" in described([build_context(FIND)])
    assert "and 2 more" in text


def test_a_host_waits_when_it_connects_often_and_is_closed_when_it_connects_far_too_often() -> None:
    clock = Clock()
    pace = Pace(clock)
    assert [pace.take("a") for _ in range(BURST)] == [0.0] * BURST
    assert pace.take("a") == pytest.approx(1 / PER_SECOND)
    while pace.take("a") is not None:
        assert not pace.is_exhausted("b")
    assert pace.is_exhausted("a")
    assert pace.take("b") == 0.0
    clock.now = 60.0
    assert pace.take("a") == 0.0


def test_an_accepted_association_does_not_count() -> None:
    pace = Pace(Clock())
    for _ in range(10 * BURST):
        assert pace.take("a") == 0.0
        pace.give_back("a")


def test_the_hosts_in_a_budget_are_limited() -> None:
    pace = Pace(Clock())
    for number in range(2 * pace_module.MOST_HOSTS):
        pace.take(str(number))
    assert len(pace._budgets) == pace_module.MOST_HOSTS


def test_reports_of_one_host_are_counted_after_the_first() -> None:
    notes: list[Note] = []
    clock = Clock()
    reports = Reports(notes.append, clock)
    for number in range(1000):
        reports.add("rejected-association", f"unknown {number}", f"AE{number}", "10.1.2.3")
        reports.add("rejected-association", "unknown 0", "AE0", "10.1.2.3")
    assert len(notes) == 6
    assert "AE5" in notes[-1].advice
    reports.flush()
    assert len(notes) == 6
    clock.now = WINDOW_SECONDS
    reports.flush()
    counts = {note.message: note.count for note in notes[6:]}
    assert counts.pop("unknown 0") == 1000
    assert list(counts.values()) == [994]
    for _ in range(100):  # a host that goes on is reported ever more rarely
        reports.add("rejected-association", "unknown 0", "AE0", "10.1.2.3")
        clock.now += WINDOW_SECONDS
        reports.flush()
    assert len(notes) < 20


def test_a_host_that_stopped_is_forgotten() -> None:
    notes: list[Note] = []
    clock = Clock()
    reports = Reports(notes.append, clock)
    reports.add("rejected-association", "unknown", "AE", "10.1.2.3")
    clock.now = WINDOW_SECONDS
    reports.flush()
    reports.add("rejected-association", "unknown", "AE", "10.1.2.3")
    assert [note.count for note in notes] == [1, 1]


def test_the_hosts_in_reports_are_limited() -> None:
    notes: list[Note] = []
    reports = Reports(notes.append, Clock())
    for number in range(1000):
        reports.add("rejected-association", "unknown", "AE", f"10.1.{number // 250}.{number % 250}")
    assert len(notes) < 300


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (StoreStatus.SUCCESS, 0x0000),
        (StoreStatus.CLASS_NOT_SUPPORTED, 0x0122),
        (StoreStatus.OUT_OF_RESOURCES, 0xA700),
        (StoreStatus.DATA_SET_MISMATCH, 0xA900),
        (StoreStatus.CANNOT_UNDERSTAND, 0xC000),
        (StoreStatus.TOO_LARGE, 0xC001),
        (StoreStatus.UNEXPECTED, 0xC0FF),
    ],
)
def test_statuses_are_those_of_the_standard(status: StoreStatus, code: int) -> None:
    assert status == code
    category = STORAGE_SERVICE_CLASS_STATUS[code][0]
    assert category == ("Success" if status == 0 else "Failure")
    assert len(StoreStatus) == 7


def test_a_wrong_called_title_is_rejected_with_both_titles(tmp_path: Path) -> None:
    no = rejection(configuration(tmp_path), "OTHER", "CT01", "10.1.2.3")
    assert no is not None
    assert (no.result, no.source, no.diagnostic) == (1, 1, 7)


@pytest.mark.parametrize(
    ("host", "is_welcome"),
    [("10.1.2.3", True), ("", True), ("10.1.2.0/24", True), ("10.1.2.4", False)],
)
def test_a_caller_is_accepted_by_title_and_host(
    tmp_path: Path, host: str, is_welcome: bool
) -> None:
    config = configuration(tmp_path, callers=known("CT01", host))
    no = rejection(config, "SEGNODE", "CT01 ", "10.1.2.3")
    assert (no is None) == is_welcome
    assert rejection(config, "SEGNODE", "ct01", "10.1.2.3") is not None


def test_a_caller_by_name_is_resolved(tmp_path: Path) -> None:
    config = configuration(tmp_path, callers=known("CT01", "localhost"))
    assert rejection(config, "SEGNODE", "CT01", "127.0.0.1") is None
    nowhere = configuration(tmp_path, callers=known("CT01", "nowhere.invalid"))
    assert rejection(nowhere, "SEGNODE", "CT01", "127.0.0.1") is not None


def test_a_rejection_contains_the_line_to_add(tmp_path: Path) -> None:
    no = rejection(configuration(tmp_path, callers=()), "SEGNODE", "CT01", "10.1.2.3")
    assert no is not None
    assert "- {ae: CT01, host: 10.1.2.3}" in no.advice
    assert (no.result, no.source, no.diagnostic) == (1, 1, 3)


@pytest.mark.parametrize("ae", ["CT01", "NO", "1234", "A: B", "{X}", "PACS_STORE", "#1", '"'])
@pytest.mark.parametrize("host", ["10.1.2.3", "::1", "fe80::1"])
def test_the_line_to_add_is_yaml_for_any_title(ae: str, host: str) -> None:
    assert yaml.safe_load(yaml_line(ae, host)) == [{"ae": ae, "host": host}]


def test_an_address_is_written_without_zone_and_mapping() -> None:
    assert plain_host("::ffff:10.1.2.3") == "10.1.2.3"
    assert plain_host("fe80::1%eth0") == "fe80::1"


def test_slots_are_limited_in_total_and_per_host() -> None:
    slots = Slots(3, 2)
    assert [bool(slots.take("a")) for _ in range(3)] == [False, False, True]
    assert slots.take("b") == ""
    assert "max_associations" in slots.take("c")
    slots.give_back("a")
    assert slots.take("c") == ""


def test_the_first_supported_syntax_of_the_sender_is_accepted() -> None:
    proposed = [build_context(CT, [J2K, EXPLICIT, IMPLICIT]), build_context(FIND, [EXPLICIT])]
    (context,) = supported(proposed)
    assert [str(syntax) for syntax in context.transfer_syntax] == [J2K, EXPLICIT, IMPLICIT]


def test_deflated_is_not_supported() -> None:
    deflated = DeflatedExplicitVRLittleEndian
    assert supported([build_context(CT, [deflated])]) == []
    assert deflated not in TRANSFER_SYNTAXES


def test_verification_and_labelmaps_are_supported() -> None:
    proposed = [build_context(LABELMAP_SEG_CLASS), build_context(VERIFICATION_CLASS)]
    assert len(supported(proposed)) == 2


def test_a_spool_moves_to_disk_and_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool, "IN_MEMORY_BYTES", 100)
    for pieces in (3, 50):
        data = Spool(tmp_path, 10_000)
        for number in range(pieces):
            data.write(bytes([number]) * 10)
        with data.view() as view:
            assert bytes(view) == b"".join(bytes([number]) * 10 for number in range(pieces))
        data.close()
    assert list(tmp_path.iterdir()) == []


def test_a_spool_does_not_use_the_space_that_must_stay_free(tmp_path: Path) -> None:
    free = disk.space(tmp_path).free_bytes
    inbox = Inbox(tmp_path / "inbox", stop_below_bytes=free - (64 << 20))
    data = Spool(inbox.temporary_folder, 1 << 30, inbox.check_space)
    for _ in range(256):
        data.write(bytes(1 << 20))
        if data.problem:
            break
    assert isinstance(data.problem, DiskLow)
    assert data.received_bytes < 128 << 20, "it stops while it comes, not after"
    with pytest.raises(DiskLow, match="MiB are required"):
        data.view()
    data.write(bytes(100))
    assert data.getbuffer().nbytes == 0
    data.close()


def test_a_spool_checks_the_free_space_before_it_writes(tmp_path: Path) -> None:
    inbox = Inbox(tmp_path / "inbox", stop_below_bytes=1 << 60)
    data = Spool(inbox.temporary_folder, 1 << 30, inbox.check_space)
    data.write(bytes(spool.IN_MEMORY_BYTES))
    with data.view() as view:  # memory is not the disk: the inbox checks when it stores this
        assert view.nbytes == spool.IN_MEMORY_BYTES
    data.write(bytes(1))
    assert isinstance(data.problem, DiskLow)
    assert data.getbuffer().nbytes == 0
    data.close()


def test_a_spool_beyond_the_limit_discards_its_bytes(tmp_path: Path) -> None:
    data = Spool(tmp_path, 1000)
    for _ in range(100):
        data.write(bytes(100))
    assert data.is_too_large
    assert data.received_bytes == 10_000
    assert data.getbuffer().nbytes == 0
    data.close()
