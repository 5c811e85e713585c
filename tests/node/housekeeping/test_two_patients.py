"""Two patients in one study: both series are held, and a person can choose."""

from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.uid import generate_uid

from node import queue, schema
from node.config import load
from node.housekeeping import Sweep
from node.inbox import Inbox
from node.package import uses
from node.states import Content, Ending, State
from tests.support.commanding import Run
from tests.support.housekeeping import QUIET, SETTLED, Site
from tests.support.odd_headers import in_slices, sets
from tests.support.phantoms import Phantom, Scan, make
from tests.support.reading import shared_reader
from tests.support.received import receive
from tests.support.rows import T0


def second_series(scan: Scan, folder: Path, **changes: Any) -> list[Path]:
    """Write the images as another series of the same study."""
    series = generate_uid()
    folder.mkdir()
    paths = []
    for path in scan.paths:
        dataset = pydicom.dcmread(path)
        dataset.SeriesInstanceUID, dataset.SOPInstanceUID = series, generate_uid()
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        for keyword, value in changes.items():
            setattr(dataset, keyword, value)
        paths.append(folder / path.name)
        dataset.save_as(paths[-1])
    return paths


HELD = (Ending.HELD, "conflicting-patients")


def test_both_series_are_held_if_they_arrive_together(
    site: Site, head: Scan, tmp_path: Path
) -> None:
    receive(site.inbox, head.paths, T0)
    receive(site.inbox, second_series(head, tmp_path / "b", PatientID="OTHER"), T0)
    site.sweep.run(QUIET)
    assert site.ends() == [HELD, HELD]
    assert queue.list_jobs(site.engine) == []


def test_a_series_that_waits_for_its_segmentation_is_held_too(
    site: Site, head: Scan, tmp_path: Path
) -> None:
    receive(site.inbox, head.paths, T0)
    site.sweep.run(SETTLED)
    assert site.ends() == [(Ending.IN_PROGRESS, "")]
    receive(site.inbox, second_series(head, tmp_path / "b", PatientID="OTHER"), T0 + 10)
    site.sweep.run(QUIET + 10)
    assert site.ends() == [HELD, HELD]
    assert [job.state for job in queue.list_jobs(site.engine)] == [State.CANCELLED]
    series = [history.arrival.series_uid for history in queue.histories(site.engine)]
    reasons = [history.arrival.reason for history in queue.histories(site.engine)]
    assert series[1] in reasons[0]
    assert series[0] in reasons[1]


def test_a_finished_segmentation_gets_a_note(site: Site, head: Scan, tmp_path: Path) -> None:
    receive(site.inbox, head.paths, T0)
    site.sweep.run(SETTLED)
    site.segment(T0 + 3, "pacs")
    site.deliver(T0 + 4)
    receive(site.inbox, second_series(head, tmp_path / "b", PatientID="OTHER"), T0 + 10)
    site.sweep.run(QUIET + 10)
    assert site.ends() == [(Ending.DELIVERED, ""), HELD]
    notes = [event.detail for event in queue.events_of(site.engine) if event.event == "note"]
    assert any("different patients" in note for note in notes)


def test_a_person_chooses_a_series(site: Site, head: Scan, tmp_path: Path) -> None:
    first = receive(site.inbox, head.paths, T0)
    receive(site.inbox, second_series(head, tmp_path / "b", PatientID="OTHER"), T0)
    site.sweep.run(QUIET)
    without_choice = site.fresh().replan(first, QUIET + 1)
    assert without_choice is not None
    assert without_choice.job_id is None
    chosen = site.fresh().replan(first, QUIET + 2, Content.LAST)
    assert chosen is not None
    assert chosen.job_id is not None
    assert sorted(site.ends()) == sorted([(Ending.IN_PROGRESS, ""), HELD])
    assert site.fresh().run(QUIET + 99) == 0


def test_the_advice_of_a_study_with_two_patients_works(
    run: Run, configured: Path, head: Scan, tmp_path: Path
) -> None:
    config = load(configured)
    engine, inbox = schema.open_configured(config.data), Inbox(config.data.dir / "inbox")
    receive(inbox, head.paths, T0)
    receive(inbox, second_series(head, tmp_path / "b", PatientID="OTHER"), T0)
    Sweep(config, engine, inbox, uses(config), shared_reader()).run(QUIET)
    dataset = pydicom.dcmread(head.paths[0])
    study, series = str(dataset.StudyInstanceUID), str(dataset.SeriesInstanceUID)
    options = ["--config", str(configured)]
    explained = run("explain", study, *options)[1]
    assert "segnode jobs replan UID --use last" in explained
    assert "OTHER" not in explained
    assert "no job" in run("jobs", "replan", study, *options)[1]
    assert "job 1 is queued" in run("jobs", "replan", series, "--use", "last", *options)[1]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"IssuerOfPatientID": "HOSPITAL"},
        {"PatientID": ""},
        {"PatientName": "Corrected^Name", "AccessionNumber": "X"},
        {"PatientBirthDate": "19600228"},  # the ID decides
    ],
    ids=["same", "issuer added", "no ID", "coerced", "birth date"],
)
def test_one_patient_is_not_held(
    site: Site, head: Scan, tmp_path: Path, changes: dict[str, Any]
) -> None:
    receive(site.inbox, head.paths, T0)
    receive(site.inbox, second_series(head, tmp_path / "b", **changes), T0)
    site.sweep.run(QUIET)
    assert site.ends() == [(Ending.IN_PROGRESS, "")] * 2


def test_two_birth_dates_without_a_patient_id_are_two_patients(site: Site, tmp_path: Path) -> None:
    made = make(tmp_path / "a", Phantom(tags={"PatientID": ""}))
    receive(site.inbox, made.paths, T0)
    receive(site.inbox, second_series(made, tmp_path / "b", PatientBirthDate="19800202"), T0)
    site.sweep.run(QUIET)
    assert site.ends() == [HELD, HELD]


def test_another_birth_date_without_a_patient_id_is_another_patient(
    site: Site, head: Scan, tmp_path: Path
) -> None:
    other = second_series(head, tmp_path / "b", PatientID="", PatientBirthDate="19800202")
    receive(site.inbox, head.paths, T0)
    receive(site.inbox, other, T0)
    site.sweep.run(QUIET)
    assert site.ends() == [HELD, HELD]


def test_all_images_are_compared_where_the_first_has_no_patient_id(
    site: Site, head: Scan, tmp_path: Path
) -> None:
    partly = make(tmp_path / "a", Phantom(change=in_slices(sets(PatientID=""), range(9))))
    receive(site.inbox, partly.paths, T0)
    other = second_series(partly, tmp_path / "b", PatientID="OTHER")
    receive(site.inbox, other, T0)
    site.sweep.run(QUIET)
    assert site.ends() == [HELD, HELD]


def test_patients_of_two_studies_are_not_compared(site: Site, head: Scan, tmp_path: Path) -> None:
    receive(site.inbox, head.paths, T0)
    other = second_series(head, tmp_path / "b", PatientID="OTHER", StudyInstanceUID=generate_uid())
    receive(site.inbox, other, T0)
    site.sweep.run(QUIET)
    assert site.ends() == [(Ending.IN_PROGRESS, "")] * 2
