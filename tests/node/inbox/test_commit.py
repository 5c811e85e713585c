"""What the inbox commits: every instance that it keeps, under the class that it was stored with."""

from pathlib import Path

import pytest
from pydicom.uid import MRImageStorage

from node.commitment import FailureReason, Reference, Report, Request
from node.inbox import AssociationRecord, Inbox, Incoming, report_on
from tests.support.peers import CT, EXPLICIT, SERIES, STUDY, ct, encode


@pytest.fixture
def inbox(tmp_path: Path) -> Inbox:
    return Inbox(tmp_path / "inbox")


def keep(inbox: Inbox, number: int, value: int = 0, series: str = SERIES) -> Reference:
    data = encode(ct(number, value=value, series=series))
    instance = Incoming(STUDY, series, CT, f"{series}.{number}", EXPLICIT, data, received=100.0)
    inbox.keep(instance, sender(inbox))
    return Reference(CT, instance.sop_instance)


def sender(inbox: Inbox) -> AssociationRecord:
    return inbox.open("CT01", "10.1.2.3", 99.0)


def test_kept_instances_are_committed_and_others_are_not(inbox: Inbox) -> None:
    stored = (keep(inbox, 1), keep(inbox, 22), keep(inbox, 3, series=f"{SERIES}.7"))
    absent = Reference(CT, "1.2.3")
    report = report_on(Request("2.25.1", (*stored, absent)), inbox)
    failed = ((absent, FailureReason.NO_SUCH_OBJECT_INSTANCE),)
    assert report == Report("2.25.1", stored, failed)


def test_another_class_is_a_conflict(inbox: Inbox) -> None:
    wrong = keep(inbox, 1)._replace(sop_class=str(MRImageStorage))
    report = report_on(Request("2.25.1", (wrong,)), inbox)
    assert report.failed == ((wrong, FailureReason.CLASS_INSTANCE_CONFLICT),)


def test_an_instance_with_two_contents_is_committed(inbox: Inbox) -> None:
    stored = keep(inbox, 1)
    keep(inbox, 1, value=5)
    assert report_on(Request("2.25.1", (stored,)), inbox).committed == (stored,)


def test_an_instance_set_aside_as_a_duplicate_is_committed(inbox: Inbox) -> None:
    stored, like = keep(inbox, 1), keep(inbox, 2)
    (folder,) = inbox.series_folders()
    files = {file.path.name.partition(".")[0]: file for file in inbox.instances(folder)}
    aside, other = (files[key] for key in files)
    inbox.set_aside(aside, other)
    assert report_on(Request("2.25.1", (stored, like)), inbox).committed == (stored, like)


def test_a_pruned_series_is_not_committed(inbox: Inbox) -> None:
    stored = keep(inbox, 1)
    (folder,) = inbox.series_folders()
    assert inbox.prune(folder)
    report = report_on(Request("2.25.1", (stored,)), inbox)
    assert report.failed == ((stored, FailureReason.NO_SUCH_OBJECT_INSTANCE),)
