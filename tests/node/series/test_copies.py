"""Two encodings with one SOP Instance UID are one image; two contents are a conflict."""

import os
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
import pydicom
import pytest
from pydicom.uid import (
    UID,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    RLELossless,
)

from node import queue
from node.housekeeping.copies import MOST_CONTENTS, Copies
from node.inbox import SeriesFolder
from node.series import same_image
from node.states import Content, Ending, State
from tests.support.housekeeping import QUIET, SETTLED, Site, other
from tests.support.phantoms import Phantom, Scan, make
from tests.support.reading import shared_reader
from tests.support.received import receive
from tests.support.rows import T0

SYNTAXES = (ImplicitVRLittleEndian, RLELossless, JPEG2000Lossless)


@pytest.fixture
def head(tmp_path: Path) -> Scan:
    """Return a series whose images are large enough for JPEG 2000."""
    return make(tmp_path / "head", Phantom(shuffle=False, shape=(12, 40, 36)))


def forwarded(
    path: Path, folder: Path, syntax: UID = ImplicitVRLittleEndian, **changes: Any
) -> Path:
    """Write the instance as an archive would forward it."""
    dataset = pydicom.dcmread(path)
    for keyword, value in changes.items():
        setattr(dataset, keyword, value)
    folder.mkdir(exist_ok=True)
    if syntax.is_compressed:
        dataset.compress(syntax, generate_instance_uid=False)
    dataset.file_meta.TransferSyntaxUID = syntax
    pydicom.dcmwrite(
        folder / path.name, dataset, implicit_vr=syntax.is_implicit_VR, little_endian=True
    )
    return folder / path.name


def stored_names(site: Site, folder: SeriesFolder) -> set[str]:
    return {file.path.name for file in site.inbox.instances(folder)}


def sweep(site: Site, folder: SeriesFolder, now: float) -> None:
    """Sweep until nothing is set aside any more; the disk's clock follows the test's."""
    for _ in range(4):
        site.sweep.run(now)
        os.utime(folder.path, (T0 + 9, T0 + 9))
    site.sweep.run(now)


@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda syntax: syntax.name)
def test_another_encoding_is_the_same_image(head: Scan, tmp_path: Path, syntax: UID) -> None:
    assert same_image(head.paths[0], forwarded(head.paths[0], tmp_path / "f", syntax))


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"PatientID": "SOMEBODY-ELSE"}, id="patient"),
        pytest.param({"RescaleIntercept": "-1024"}, id="an element more"),
        pytest.param({"ImagePositionPatient": [0, 0, 1]}, id="position"),
        pytest.param({"ContrastBolusAgentSequence": [pydicom.Dataset()]}, id="a sequence more"),
        pytest.param({"ImageType": ["DERIVED", "SECONDARY"]}, id="kind"),
        pytest.param({"PixelData": bytes(40 * 36 * 2)}, id="pixels"),
        pytest.param({"Rows": 10, "PixelData": bytes(10 * 36 * 2)}, id="size"),
    ],
)
def test_a_difference_makes_another_image(
    head: Scan, tmp_path: Path, changes: dict[str, Any]
) -> None:
    copy = forwarded(head.paths[0], tmp_path / "f", **changes)
    assert not same_image(head.paths[0], copy)
    assert not same_image(copy, head.paths[0])


COERCED: list[dict[str, Any]] = [
    {"AccessionNumber": "RIS-4711", "InstitutionName": "Hospital", "RetrieveAETitle": "ARCHIVE"},
    {"PatientName": "Corrected^Name", "PatientBirthDate": "19600301", "OtherPatientIDs": "X"},
    {"StudyDescription": "Other", "StudyID": "9", "SeriesNumber": 12, "BodyPartExamined": "BRAIN"},
    {"ReferencedImageSequence": [pydicom.Dataset()], "NumberOfSeriesRelatedInstances": 12},
    {"WindowCenter": "40", "WindowWidth": "400", "ReferringPhysicianName": "Doe"},
]


@pytest.mark.parametrize("changes", COERCED)
def test_attributes_that_an_archive_coerces_make_no_other_image(
    head: Scan, tmp_path: Path, changes: dict[str, Any]
) -> None:
    copy = forwarded(head.paths[0], tmp_path / "f", RLELossless, **changes)
    assert same_image(head.paths[0], copy)
    assert same_image(copy, head.paths[0])


def test_an_issuer_that_an_archive_adds_is_the_same_patient(head: Scan, tmp_path: Path) -> None:
    plain = other(head.paths[0], tmp_path / "x", IssuerOfPatientID=None)
    assert same_image(plain, forwarded(head.paths[0], tmp_path / "f", IssuerOfPatientID="HOSPITAL"))


def test_a_patient_id_that_an_archive_adds_is_the_same_patient(head: Scan, tmp_path: Path) -> None:
    plain = other(head.paths[0], tmp_path / "x", PatientID="")
    assert same_image(plain, head.paths[0])
    born = other(head.paths[0], tmp_path / "y", PatientID="", PatientBirthDate="19800202")
    assert not same_image(born, head.paths[0])


def test_two_known_issuers_are_two_patients(head: Scan, tmp_path: Path) -> None:
    first = other(head.paths[0], tmp_path / "x", IssuerOfPatientID="A")
    assert not same_image(first, forwarded(first, tmp_path / "f", IssuerOfPatientID="B"))


def test_a_coerced_copy_of_a_series_makes_no_second_job(
    site: Site, head: Scan, tmp_path: Path
) -> None:
    folder = receive(site.inbox, head.paths, T0)
    site.sweep.run(SETTLED)
    again = [forwarded(path, tmp_path / "f", AccessionNumber="RIS-1") for path in head.paths]
    receive(site.inbox, again, T0 + 5, ae="ARCHIVE")
    sweep(site, folder, QUIET)
    assert [history.ending for history in queue.histories(site.engine)] == [Ending.IN_PROGRESS]


@pytest.mark.parametrize(("copies", "accession"), [("first", "ACC7"), ("last", "RIS-1")])
def test_a_setting_chooses_the_header_of_the_result(
    site: Site, head: Scan, tmp_path: Path, copies: Literal["first", "last"], accession: str
) -> None:
    complete = msgspec.structs.replace(site.config.complete, copies=copies)
    site.config = msgspec.structs.replace(site.config, complete=complete)
    site.sweep = site.fresh()
    folder = receive(site.inbox, head.paths, T0, ends="open")
    coerced = [forwarded(path, tmp_path / "f", AccessionNumber="RIS-1") for path in head.paths]
    receive(site.inbox, coerced, T0 + 1, ae="ARCHIVE")
    sweep(site, folder, QUIET + 20)
    (history,) = queue.histories(site.engine)
    assert history.segment is not None
    names = history.segment.segment_payload().files
    assert len(names) == len(head.paths)
    written = {str(pydicom.dcmread(folder.path / name).AccessionNumber) for name in names}
    assert written == {accession}


def test_the_last_copy_never_replaces_an_image_that_a_job_names(
    site: Site, head: Scan, tmp_path: Path
) -> None:
    complete = msgspec.structs.replace(site.config.complete, copies="last")
    site.config = msgspec.structs.replace(site.config, complete=complete)
    site.sweep = site.fresh()
    folder = receive(site.inbox, head.paths, T0)
    site.sweep.run(SETTLED)
    first = stored_names(site, folder)
    coerced = [forwarded(path, tmp_path / "f", AccessionNumber="RIS-1") for path in head.paths]
    receive(site.inbox, coerced, T0 + 5, ae="ARCHIVE")
    sweep(site, folder, QUIET)
    assert stored_names(site, folder) == first


def test_one_changed_pixel_of_a_compressed_image_makes_another_image(
    head: Scan, tmp_path: Path
) -> None:
    values = np.frombuffer(pydicom.dcmread(head.paths[0]).PixelData, "<u2").copy()
    values[7] ^= 1
    changed = other(head.paths[0], tmp_path / "x", PixelData=values.tobytes())
    assert not same_image(head.paths[0], forwarded(changed, tmp_path / "f", JPEG2000Lossless))


def test_an_image_that_cannot_be_decoded_is_never_the_same(head: Scan, tmp_path: Path) -> None:
    copy = forwarded(head.paths[0], tmp_path / "f", RLELossless)
    copy.write_bytes(copy.read_bytes()[:-200])
    assert not same_image(head.paths[0], copy)
    assert not same_image(copy, head.paths[0])
    copy.write_bytes(b"not a DICOM file")
    assert not same_image(head.paths[0], copy)


def test_sequences_are_compared_item_by_item(tmp_path: Path) -> None:
    item = pydicom.Dataset()
    item.ReferencedSOPInstanceUID = "1.2.3"
    scan = make(tmp_path / "s", Phantom(tags={"ContrastBolusAgentSequence": [item]}))
    assert same_image(scan.paths[0], forwarded(scan.paths[0], tmp_path / "f"))
    item.ReferencedSOPInstanceUID = "1.2.4"
    copy = forwarded(scan.paths[0], tmp_path / "g", ContrastBolusAgentSequence=[item])
    assert not same_image(scan.paths[0], copy)


@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda syntax: syntax.name)
def test_a_series_that_is_forwarded_in_another_encoding_stays_planned(
    site: Site, head: Scan, tmp_path: Path, syntax: UID
) -> None:
    folder = receive(site.inbox, head.paths, T0)
    site.sweep.run(SETTLED)
    first = stored_names(site, folder)
    again = [forwarded(path, tmp_path / "f", syntax) for path in head.paths]
    receive(site.inbox, again, T0 + 5, ae="ARCHIVE")
    sweep(site, folder, QUIET)
    (history,) = queue.histories(site.engine)
    assert history.segment is not None
    assert history.segment.state is State.QUEUED
    assert stored_names(site, folder) == first, "the job names these files"
    assert len(list(folder.path.glob("*.duplicate"))) == len(head.paths), "the copies are kept"
    assert site.fresh().run(QUIET + 9) == 0
    site.segment(QUIET + 10, "pacs")
    site.deliver(QUIET + 11)
    receive(site.inbox, again, QUIET + 20, ae="ARCHIVE")
    sweep(site, folder, QUIET + 90)
    assert site.ends() == [(Ending.DELIVERED, "")], "delivered once"
    assert len(queue.list_jobs(site.engine)) == 2


def test_a_series_received_in_two_encodings_at_once_is_planned_from_the_first_files(
    site: Site, head: Scan, tmp_path: Path
) -> None:
    folder = receive(site.inbox, head.paths[:7], T0, ends="open")
    first = stored_names(site, folder)
    receive(site.inbox, [forwarded(path, tmp_path / "f") for path in head.paths], T0 + 1)
    sweep(site, folder, QUIET + 20)
    (history,) = queue.histories(site.engine)
    assert history.segment is not None
    named = set(history.segment.segment_payload().files)
    assert len(named) == len(head.paths)
    assert first < named


def test_one_copy_that_differs_holds_the_series_and_leaves_the_job_alone(
    site: Site, head: Scan, tmp_path: Path
) -> None:
    folder = receive(site.inbox, head.paths, T0)
    site.sweep.run(SETTLED)
    copies = [forwarded(path, tmp_path / "f") for path in head.paths[:-1]]
    copies.append(forwarded(head.paths[-1], tmp_path / "f", PatientID="SOMEBODY-ELSE"))
    receive(site.inbox, copies, T0 + 5, ae="ARCHIVE")
    sweep(site, folder, QUIET + 20)
    planned, held = queue.histories(site.engine)
    assert held.ending is Ending.HELD
    assert held.arrival.instances == len(head.paths) + 1
    assert planned.segment is not None
    assert planned.segment.state is State.QUEUED
    assert site.fresh().run(QUIET + 99) == 0


def test_a_forwarded_image_received_after_a_wrong_one_is_the_last(
    site: Site, head: Scan, tmp_path: Path
) -> None:
    folder = receive(site.inbox, head.paths, T0)
    right = stored_names(site, folder)
    wrong = other(head.paths[3], tmp_path / "w", PatientID="SOMEBODY-ELSE")
    receive(site.inbox, [wrong], T0 + 1)
    receive(site.inbox, [forwarded(head.paths[3], tmp_path / "f")], T0 + 2)
    sweep(site, folder, QUIET + 20)
    assert site.ends() == [(Ending.HELD, "conflicting-instances")]
    site.fresh().replan(folder, QUIET + 30, Content.LAST)
    planned = queue.histories(site.engine)[-1]
    assert planned.segment is not None
    assert set(planned.segment.segment_payload().files) == right


def test_a_long_series_is_compared_in_parts(site: Site, head: Scan, tmp_path: Path) -> None:
    folder = receive(site.inbox, head.paths, T0)
    receive(site.inbox, [forwarded(path, tmp_path / "f") for path in head.paths], T0 + 5)
    copies = Copies(site.inbox, shared_reader(), most_bytes=0)
    for done in range(1, len(head.paths) + 1):
        assert copies.set_aside(site.inbox.instances(folder))
        assert len(stored_names(site, folder)) == 2 * len(head.paths) - done
    assert not copies.set_aside(site.inbox.instances(folder))


def test_copies_that_differ_are_compared_once(site: Site, head: Scan, tmp_path: Path) -> None:
    folder = receive(site.inbox, head.paths, T0)
    receive(site.inbox, [forwarded(head.paths[0], tmp_path / "f", PatientID="X")], T0 + 5)
    files, copies = site.inbox.instances(folder), Copies(site.inbox, shared_reader())
    assert not copies.set_aside(files)
    content = head.paths[0].read_bytes()
    for file in files:
        file.path.write_bytes(content)  # a second comparison would find them equal
    assert not copies.set_aside(files)
    copies.forget(folder.path)
    assert copies.set_aside(files)


def test_more_contents_of_one_instance_than_the_limit_are_not_compared(
    site: Site, head: Scan, tmp_path: Path
) -> None:
    folder = receive(site.inbox, head.paths, T0)
    for number in range(MOST_CONTENTS):
        changed = other(head.paths[0], tmp_path / "x", InstanceNumber=100 + number)
        receive(site.inbox, [changed], T0 + 1 + number)
    copies = Copies(site.inbox, shared_reader())
    assert not copies.set_aside(site.inbox.instances(folder))
    assert not copies._differ, "nothing was compared"
    site.sweep.run(QUIET + 60)
    assert site.ends() == [(Ending.HELD, "conflicting-instances")]


def test_the_phantom_has_explicit_vr(head: Scan) -> None:
    syntax = pydicom.dcmread(head.paths[0]).file_meta.TransferSyntaxUID
    assert syntax == ExplicitVRLittleEndian, "else the tests above compare equal files"
