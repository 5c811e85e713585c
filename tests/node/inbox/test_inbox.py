"""The inbox stores each instance once, completely, under names made of digests."""

from pathlib import Path

import pydicom
import pytest

from node import disk
from node.dicom.uids import IMPLEMENTATION_UID, is_uid
from node.errors import DiskLow, Misconfigured
from node.inbox import (
    AssociationRecord,
    Inbox,
    Incoming,
    Note,
    StoreOutcome,
    inputs_digest,
    instances,
    read_markers,
    read_series,
    series_key,
)
from node.inbox import markers as markers_module
from node.inbox import notes as notes_module
from tests.support.peers import CT, EXPLICIT, SERIES, STUDY, ct, encode


def incoming(number: int = 1, value: int = 0, **other: str) -> Incoming:
    facts = {
        "study": STUDY,
        "series": SERIES,
        "sop_class": CT,
        "sop_instance": f"{SERIES}.{number}",
        "transfer_syntax": EXPLICIT,
    }
    return Incoming(**facts | other, data=encode(ct(number, value=value)), received=100.0)


@pytest.fixture
def inbox(tmp_path: Path) -> Inbox:
    return Inbox(tmp_path / "inbox")


@pytest.fixture
def association(inbox: Inbox) -> AssociationRecord:
    return inbox.open("CT01", "10.1.2.3", 99.0)


def test_a_stored_instance_is_a_dicom_file_with_the_data_set_unchanged(
    inbox: Inbox, association: AssociationRecord
) -> None:
    assert inbox.keep(incoming(), association) is StoreOutcome.new
    (folder,) = inbox.series_folders()
    (file,) = inbox.instances(folder)
    stored = pydicom.dcmread(file.path)
    assert stored.file_meta.SourceApplicationEntityTitle == "CT01"
    assert stored.file_meta.TransferSyntaxUID == EXPLICIT
    assert stored.file_meta.MediaStorageSOPInstanceUID == f"{SERIES}.1"
    assert stored.file_meta.ImplementationClassUID == IMPLEMENTATION_UID
    assert file.path.read_bytes().endswith(encode(ct(1)))
    assert file.bytes == file.path.stat().st_size
    assert list(inbox.temporary_folder.iterdir()) == []


def test_the_same_bytes_resent_write_nothing(inbox: Inbox, association: AssociationRecord) -> None:
    inbox.keep(incoming(), association)
    (folder,) = inbox.series_folders()
    (before,) = inbox.instances(folder)
    written = before.path.stat()
    assert inbox.keep(incoming(), inbox.open("PACS", "10.1.2.4", 100.0)) is StoreOutcome.identical
    assert before.path.stat() == written


def test_other_content_with_the_same_uid_is_stored_beside_the_first(
    inbox: Inbox, association: AssociationRecord
) -> None:
    inbox.keep(incoming(), association)
    assert inbox.keep(incoming(value=7), association) is StoreOutcome.conflicting
    assert inbox.keep(incoming(value=7), association) is StoreOutcome.identical
    assert inbox.keep(incoming(value=8), inbox.open("B", "h", 1.0)) is StoreOutcome.conflicting
    (folder,) = inbox.series_folders()
    files = inbox.instances(folder)
    assert len(files) == 3
    assert len({file.sop_key for file in files}) == 1


def test_a_folder_records_its_study_and_series(
    inbox: Inbox, association: AssociationRecord
) -> None:
    inbox.keep(incoming(), association)
    (folder,) = inbox.series_folders()
    record = read_series(folder.path)
    assert record is not None
    assert (record.study, record.series, record.first_seen) == (STUDY, SERIES, 100.0)
    assert folder.key == series_key(STUDY, SERIES)
    assert read_series(inbox.root) is None


def test_the_inputs_digest_depends_on_content_only(
    inbox: Inbox, association: AssociationRecord
) -> None:
    for number in (1, 2, 1):
        inbox.keep(incoming(number), association)
    (folder,) = inbox.series_folders()
    files = inbox.instances(folder)
    assert inputs_digest(files) == inputs_digest(reversed(files))
    before = inputs_digest(files)
    inbox.keep(incoming(2, value=9), association)
    assert inputs_digest(inbox.instances(folder)) != before


@pytest.mark.parametrize("text", ["", "../x", "1.2/3", "1.2\n", "1." * 40, ".1", "１", "1.2 "])
def test_invalid_uids_are_recognised(text: str) -> None:
    assert not is_uid(text)


def test_leading_zeros_are_accepted() -> None:
    assert is_uid("1.2.03.004")


def test_a_marker_follows_its_association(inbox: Inbox, association: AssociationRecord) -> None:
    inbox.keep(incoming(1), association)
    inbox.keep(incoming(2), association)
    (folder,) = inbox.series_folders()
    (marker,) = read_markers(folder.path)
    assert (marker.state, marker.calling_ae, marker.host) == ("open", "CT01", "10.1.2.3")
    inbox.close(association, 105.0, released=True)
    inbox.close(association, 106.0, released=False)
    (marker,) = read_markers(folder.path)
    assert (marker.state, marker.instances) == ("released", 2)
    assert (marker.opened, marker.closed) == (99.0, 105.0)


def test_an_open_association_records_what_it_sends(
    inbox: Inbox, association: AssociationRecord
) -> None:
    assert inbox.last_sent([association.id], STUDY) == 0
    inbox.keep(incoming(), association)
    assert inbox.last_sent([association.id], STUDY) > 0
    assert inbox.last_sent([association.id], "1.2.3") == 0
    assert inbox.last_sent(["another"], STUDY) == 0
    inbox.close(association, 100.0, released=True)
    assert inbox.last_sent([association.id], STUDY) == 0


def test_a_restart_forgets_what_was_being_sent(
    inbox: Inbox, association: AssociationRecord
) -> None:
    inbox.keep(incoming(), association)
    inbox.recover(101.0)
    assert inbox.last_sent([association.id], STUDY) == 0
    inbox.release()


def test_an_aborted_association_says_so(inbox: Inbox, association: AssociationRecord) -> None:
    inbox.keep(incoming(), association)
    inbox.close(association, 105.0, released=False)
    (folder,) = inbox.series_folders()
    assert [marker.state for marker in read_markers(folder.path)] == ["aborted"]


def test_a_restart_aborts_open_associations_and_removes_temporary_files(
    inbox: Inbox, association: AssociationRecord
) -> None:
    inbox.keep(incoming(), association)
    (inbox.temporary_folder / "half.part").write_bytes(b"DICM")
    (inbox.temporary_folder / "gone.pruned").mkdir()
    again = Inbox(inbox.root)
    assert again.recover(200.0) == 1
    assert list(inbox.temporary_folder.iterdir()) == []
    (folder,) = again.series_folders()
    (marker,) = read_markers(folder.path)
    assert (marker.state, marker.calling_ae, marker.closed) == ("aborted", "CT01", 200.0)
    assert len(again.instances(folder)) == 1


def test_a_restart_keeps_a_release_that_was_recorded(
    inbox: Inbox, association: AssociationRecord
) -> None:
    inbox.keep(incoming(), association)
    (folder,) = inbox.series_folders()
    inbox.close(association, 105.0, released=True)
    (folder.path / f"{association.id}.open").write_bytes(b"")
    inbox.recover(200.0)
    assert [marker.state for marker in read_markers(folder.path)] == ["released"]


def test_a_damaged_marker_still_has_a_state(inbox: Inbox, association: AssociationRecord) -> None:
    inbox.keep(incoming(), association)
    (folder,) = inbox.series_folders()
    (folder.path / "x.released").write_bytes(b"{")
    assert {marker.state for marker in read_markers(folder.path)} == {"open", "released"}


def test_the_number_of_markers_is_limited(inbox: Inbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(markers_module, "KEPT_MARKERS", 3)
    for number in range(6):
        association = inbox.open("CT01", "h", float(number))
        inbox.keep(incoming(), association)
        inbox.close(association, number + 0.5, released=True)
    (folder,) = inbox.series_folders()
    assert [marker.opened for marker in read_markers(folder.path)] == [3.0, 4.0, 5.0]


def test_two_listeners_cannot_share_an_inbox(inbox: Inbox) -> None:
    inbox.recover(1.0)
    other = Inbox(inbox.root)
    with pytest.raises(Misconfigured, match="another listener"):
        other.recover(2.0)
    inbox.release()
    assert other.recover(3.0) == 0


def test_too_little_space_is_transient(tmp_path: Path) -> None:
    inbox = Inbox(tmp_path / "inbox", stop_below_bytes=1 << 60)
    with pytest.raises(DiskLow):
        inbox.keep(incoming(), inbox.open("CT01", "h", 1.0))
    assert inbox.series_folders() == []


def test_an_instance_may_not_use_the_space_that_must_stay_free(tmp_path: Path) -> None:
    free = disk.space(tmp_path).free_bytes
    inbox = Inbox(tmp_path / "inbox", stop_below_bytes=free // 2)
    inbox.check_space(free // 4)
    with pytest.raises(DiskLow):
        inbox.check_space(free)


def test_a_series_that_changed_since_the_scan_is_not_pruned(
    inbox: Inbox, association: AssociationRecord
) -> None:
    inbox.keep(incoming(1), association)
    (folder,) = inbox.series_folders()
    inbox.keep(incoming(2), association)
    assert not inbox.prune(folder)
    (folder,) = inbox.series_folders()
    assert len(inbox.instances(folder)) == 2
    assert inbox.prune(folder)
    assert inbox.series_folders() == []
    assert inbox.prune(folder)


def test_a_pruned_series_can_be_resent(inbox: Inbox, association: AssociationRecord) -> None:
    inbox.keep(incoming(1), association)
    (scanned,) = inbox.series_folders()
    assert Inbox(inbox.root).prune(scanned)
    assert inbox.keep(incoming(1), inbox.open("CT01", "h", 5.0)) is StoreOutcome.new
    (folder,) = inbox.series_folders()
    assert read_series(folder.path) is not None
    assert len(instances(folder.path)) == 1


def test_equal_notes_are_counted(inbox: Inbox) -> None:
    for now in (1.0, 2.0, 3.0):
        inbox.note(Note(kind="rejected-association", message="m", calling_ae="X"), now)
    inbox.note(Note(kind="rejected-association", message="m", calling_ae="Y"), 4.0)
    first, second = inbox.read_notes()
    assert (first.count, first.first, first.last) == (3, 1.0, 3.0)
    assert second.calling_ae == "Y"


def test_a_note_is_returned_until_it_is_dropped(inbox: Inbox) -> None:
    note = Note(kind="rejected-instance", message="m", series="1.2")
    inbox.note(note, 1.0)
    (taken,) = inbox.read_notes()
    inbox.note(note, 2.0)  # while the first is being recorded
    again = inbox.read_notes()
    assert [returned.count for returned in again] == [1, 1]
    assert taken.name in {returned.name for returned in again}
    for returned in again:
        inbox.drop_note(returned)
    assert inbox.read_notes() == []


def test_the_number_of_notes_is_limited_and_damaged_ones_are_removed(
    inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notes_module, "MOST_NOTES", 5)
    for number in range(20):
        inbox.note(Note(kind="rejected-association", message="m", host=str(number)), 1.0)
    (inbox.root / "notes" / "bad.json").write_bytes(b"{")
    notes = inbox.read_notes()
    assert len(notes) == 6
    assert [note.count for note in notes if note.kind == "notes-full"] == [15]
