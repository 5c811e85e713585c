"""A contradictory series is held until a person chooses a version of each image."""

from pathlib import Path

import pydicom
import pytest

from node import queue, schema
from node.config import load
from node.housekeeping import Sweep
from node.housekeeping.choice import choose
from node.inbox import Inbox
from node.package import uses
from node.states import Content, Ending, State
from tests.support.commanding import Run
from tests.support.housekeeping import QUIET, SETTLED, Site, other
from tests.support.phantoms import Scan
from tests.support.reading import shared_reader
from tests.support.received import receive
from tests.support.rows import T0


def contents(site: Site) -> list[str]:
    """Return the files that the newest job reads."""
    history = queue.histories(site.engine)[-1]
    assert history.segment is not None
    return list(history.segment.segment_payload().files)


@pytest.mark.parametrize(("use", "position"), [(Content.FIRST, 0), (Content.LAST, 1)])
def test_a_person_chooses_the_version(
    site: Site, head: Scan, tmp_path: Path, use: Content, position: int
) -> None:
    folder = receive(site.inbox, head.paths, T0, ends="open")
    first = {file.path.name for file in site.inbox.instances(folder)}
    duplicate = other(head.paths[3], tmp_path / "duplicate", PixelData=bytes(20 * 16 * 2))
    folder = receive(site.inbox, [duplicate], T0 + 1)
    (last,) = {file.path.name for file in site.inbox.instances(folder)} - first
    site.sweep.run(QUIET)
    assert site.ends() == [(Ending.HELD, "conflicting-instances")]
    recorded = site.fresh().replan(folder, QUIET + 1, use)
    assert recorded is not None
    assert recorded.job_id is not None
    assert len(contents(site)) == len(head.paths)
    assert (last in contents(site)) == bool(position)
    assert [ending for ending, _ in site.ends()] == [Ending.HELD, Ending.IN_PROGRESS]
    assert site.fresh().run(QUIET + 100) == 0, "the choice of a person stays"


def test_corrected_images_of_another_patient_are_planned(
    site: Site, head: Scan, tmp_path: Path
) -> None:
    of_another_patient = other(head.paths[0], tmp_path / "x", PatientID="SOMEBODY-ELSE")
    receive(site.inbox, [of_another_patient, *head.paths[1:]], T0)
    site.sweep.run(QUIET)
    assert site.ends() == [(Ending.HELD, "conflicting-instances")]
    folder = receive(site.inbox, head.paths, QUIET + 10)
    recorded = site.fresh().replan(folder, QUIET + 20, Content.LAST)
    assert recorded is not None
    assert recorded.job_id is not None


@pytest.mark.parametrize("use", Content)
def test_a_correct_image_that_was_resent_is_first_and_last(
    site: Site, head: Scan, tmp_path: Path, use: Content
) -> None:
    folder = receive(site.inbox, head.paths, T0)
    right = sorted(file.path.name for file in site.inbox.instances(folder))
    wrong = other(head.paths[0], tmp_path / "x", PatientID="SOMEBODY-ELSE")
    receive(site.inbox, [wrong], T0 + 5)
    receive(site.inbox, [head.paths[0]], T0 + 10)
    assert sorted(f.path.name for f in choose(site.inbox.instances(folder), use)) == right


def test_a_wrong_image_that_was_resent_is_the_last(site: Site, head: Scan, tmp_path: Path) -> None:
    folder = receive(site.inbox, head.paths, T0)
    right = {file.path.name for file in site.inbox.instances(folder)}
    wrong = other(head.paths[0], tmp_path / "x", PatientID="SOMEBODY-ELSE")
    for at, path in enumerate((wrong, head.paths[0], wrong, head.paths[0], wrong)):
        receive(site.inbox, [path], T0 + 5 + at)
    chosen = {file.path.name for file in choose(site.inbox.instances(folder), Content.LAST)}
    assert len(chosen - right) == 1
    assert {f.path.name for f in choose(site.inbox.instances(folder), Content.FIRST)} == right


def test_a_later_choice_replaces_an_earlier_one(site: Site, head: Scan, tmp_path: Path) -> None:
    folder = receive(site.inbox, head.paths, T0)
    site.sweep.run(SETTLED)
    first = contents(site)
    duplicate = other(head.paths[3], tmp_path / "duplicate", PixelData=bytes(20 * 16 * 2))
    receive(site.inbox, [duplicate], T0 + 5)
    site.sweep.run(QUIET + 10)
    for use, number in (
        (Content.FIRST, 1),
        (Content.LAST, 2),
        (Content.FIRST, 3),
        (Content.FIRST, 3),
        (Content.LAST, 4),
    ):
        recorded = site.fresh().replan(folder, QUIET + 20, use)
        assert recorded is not None
        assert recorded.job_id == number
        job = queue.get(site.engine, number)
        assert job.state is State.QUEUED
        assert (list(job.segment_payload().files) == first) == (use is Content.FIRST)
        waiting = queue.list_jobs(site.engine, state=State.QUEUED)
        assert [one.id for one in waiting] == [number], "one set of images has a queued job"


def test_the_last_choice_is_sent_though_another_result_was_delivered(
    site: Site, head: Scan, tmp_path: Path
) -> None:
    folder = receive(site.inbox, head.paths, T0)
    site.sweep.run(SETTLED)
    duplicate = other(head.paths[3], tmp_path / "duplicate", PixelData=bytes(20 * 16 * 2))
    receive(site.inbox, [duplicate], T0 + 5)
    site.sweep.run(QUIET + 10)
    for at, use in ((20.0, Content.LAST), (30.0, Content.FIRST)):
        site.fresh().replan(folder, QUIET + at, use)
        site.segment(QUIET + at + 1, "pacs")
        site.deliver(QUIET + at + 2)
    ends = [(s.arrival.instances, s.ending) for s in queue.histories(site.engine)]
    assert ends == [(12, Ending.DELIVERED), (13, Ending.HELD), (12, Ending.DELIVERED)]


def test_the_advice_of_a_held_series_works(
    run: Run, configured: Path, head: Scan, tmp_path: Path
) -> None:
    config = load(configured)
    engine, inbox = schema.open_configured(config.data), Inbox(config.data.dir / "inbox")
    duplicate = other(head.paths[3], tmp_path / "duplicate", PixelData=bytes(20 * 16 * 2))
    receive(inbox, [*head.paths, duplicate], T0)
    Sweep(config, engine, inbox, uses(config), shared_reader()).run(QUIET)
    study = str(pydicom.dcmread(head.paths[0]).StudyInstanceUID)
    options = ["--config", str(configured)]
    assert "segnode jobs replan UID --use last" in run("explain", study, *options)[1]
    assert "no job" in run("jobs", "replan", study, *options)[1]
    assert "job 1 is queued" in run("jobs", "replan", study, "--use", "last", *options)[1]
    assert "--use last" in run("explain", study, *options)[1]
    assert run("jobs", "cancel", 1, *options)[0] == 0
    output = run("jobs", "replan", study, "--use", "last", *options)[1]
    assert "job 1 is cancelled; `segnode jobs retry 1` queues it again" in output
