"""Run the periodic work on a real inbox and a real database; time is an argument."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from node import queue
from node.config import load_text
from node.errors import Defect
from node.housekeeping import Sweep
from node.package import Use, uses
from node.queue import Destination
from node.reader import Reader, SeriesReading
from node.states import Ending
from tests.support.enhanced import enhance
from tests.support.housekeeping import QUIET, RULES, SETTLED, Site, other
from tests.support.phantoms import UNSUITABLE_PHANTOMS, Phantom, Scan, make
from tests.support.reading import shared_reader
from tests.support.received import receive
from tests.support.rows import T0


def test_a_complete_series_is_decided_exactly_once(site: Site, head: Scan) -> None:
    receive(site.inbox, head.paths, T0)
    assert site.sweep.run(T0 + 0.5) == 0
    assert site.sweep.run(SETTLED) == 1
    assert [site.sweep.run(SETTLED + n) for n in range(5)] == [0] * 5
    (history,) = queue.histories(site.engine)
    assert history.arrival.instances == len(head.paths)
    assert (history.arrival.caller_ae, history.arrival.modality) == ("CT01", "MR")
    assert history.segment is not None
    payload = history.segment.segment_payload()
    assert len(payload.files) == len(head.paths)
    assert payload.targets == (Destination(name="pacs"),)


def test_one_enhanced_image_is_a_complete_series(site: Site, head: Scan, tmp_path: Path) -> None:
    folder = receive(site.inbox, [enhance(head, tmp_path / "enhanced.dcm")], T0)
    assert site.sweep.run(T0 + 0.5) == 0
    assert site.sweep.run(SETTLED) == 1, "the release of its association completes it"
    (history,) = queue.histories(site.engine)
    assert history.arrival.instances == 1
    assert history.segment is not None
    (file,) = site.inbox.instances(folder)
    assert history.segment.segment_payload().files == (file.path.name,)


def test_an_enhanced_image_with_a_gap_waits_for_more(site: Site, tmp_path: Path) -> None:
    gap = make(tmp_path / "gap", Phantom(drop=(5,)))
    receive(site.inbox, [enhance(gap, tmp_path / "enhanced.dcm")], T0)
    assert site.sweep.run(SETTLED) == 0
    assert site.sweep.run(QUIET) == 1
    assert site.ends() == [(Ending.UNSUITABLE, "missing-slice")]


def test_a_series_waits_while_its_association_sends_others_of_the_study(
    site: Site, head: Scan
) -> None:
    receive(site.inbox, head.paths, T0, ends="open")
    (sending,) = (site.inbox.root / "sending").iterdir()
    os.utime(sending, (T0 + 50, T0 + 50))
    assert site.sweep.run(QUIET) == 0
    (waiting,) = site.waiting(QUIET)
    assert "still sending" in waiting.why
    assert site.sweep.run(T0 + 50 + 61) == 1


def test_images_that_arrive_while_a_series_is_read_belong_to_it(site: Site, tmp_path: Path) -> None:
    """A busy machine takes seconds to read; the release then stands for more images."""
    head = make(tmp_path / "in order", Phantom(shuffle=False))
    receive(site.inbox, head.paths[:-2], T0, ends="open")

    class ReadingTakesLong(Reader):
        """Reads, and meanwhile the other images arrive, and the association is released."""

        def survey(
            self, folder: Path, files: Sequence[str], part: int | None = None
        ) -> SeriesReading:
            reading = super().survey(folder, files, part)
            if len(files) < len(head.paths):
                receive(site.inbox, head.paths[-2:], T0 + 0.5)
                for marker in folder.glob("*.open"):
                    marker.unlink()
                os.utime(folder, (T0 + 0.5, T0 + 0.5))
            return reading

    with ReadingTakesLong(log_level="CRITICAL") as reader:
        sweep = Sweep(site.config, site.engine, site.inbox, uses(site.config), reader)
        assert [sweep.run(SETTLED), sweep.run(SETTLED + 1)] == [0, 1]
    (series,) = queue.histories(site.engine)
    assert series.arrival.instances == len(head.paths)


def test_a_restart_decides_nothing_twice(site: Site, head: Scan) -> None:
    receive(site.inbox, head.paths, T0)
    site.sweep.run(SETTLED)
    restarted = site.fresh()
    assert restarted.run(QUIET) == 0
    assert len(queue.list_jobs(site.engine)) == 1


def test_a_restart_reads_no_header_of_a_decided_series(site: Site, head: Scan) -> None:
    folder = receive(site.inbox, head.paths, T0)
    site.sweep.run(SETTLED)
    for file in site.inbox.instances(folder):
        file.path.write_bytes(b"spoilt")  # a read would fail
    reader = Reader()
    restarted = Sweep(site.config, site.engine, site.inbox, uses(site.config), reader)
    assert restarted.run(QUIET) == 0
    assert reader.pid == 0, "nothing was read"
    assert queue.arriving_series(site.engine) == []
    assert site.ends() == [(Ending.IN_PROGRESS, "")]


def test_resent_images_change_nothing(site: Site, head: Scan) -> None:
    receive(site.inbox, head.paths, T0)
    site.sweep.run(SETTLED)
    receive(site.inbox, head.paths[::-1], QUIET, ae="OTHER")
    assert site.sweep.run(QUIET + 100) == 0
    assert len(queue.histories(site.engine)) == 1


def test_late_images_are_another_arrival_and_supersede_the_queued_job(
    site: Site, head: Scan
) -> None:
    receive(site.inbox, head.paths[:-2], T0)
    site.sweep.run(QUIET)
    receive(site.inbox, head.paths[-2:], QUIET + 10)
    assert site.sweep.run(QUIET + 12) == 0, "late images wait for quiet"
    assert site.sweep.run(QUIET + 71) == 1
    first, second = queue.histories(site.engine)
    assert [s.arrival.instances for s in (first, second)] == [10, 12]
    assert first.segment is not None
    assert first.segment.code == "superseded"
    assert second.ending is Ending.IN_PROGRESS


def test_two_contents_under_one_uid_are_held(site: Site, head: Scan, tmp_path: Path) -> None:
    duplicate = other(head.paths[3], tmp_path / "duplicate", PixelData=bytes(20 * 16 * 2))
    receive(site.inbox, [*head.paths, duplicate], T0)
    site.sweep.run(QUIET)
    assert site.ends() == [(Ending.HELD, "conflicting-instances")]


def test_two_patients_in_one_series_are_held(site: Site, head: Scan, tmp_path: Path) -> None:
    of_another_patient = other(head.paths[0], tmp_path / "x", PatientID="SOMEBODY-ELSE")
    receive(site.inbox, [of_another_patient, *head.paths[1:]], T0)
    site.sweep.run(QUIET)
    assert site.ends() == [(Ending.HELD, "conflicting-instances")]


def test_an_unreadable_instance_makes_the_series_unsuitable(site: Site, head: Scan) -> None:
    folder = receive(site.inbox, head.paths, T0)
    site.inbox.instances(folder)[0].path.write_bytes(b"no DICOM at all")
    site.sweep.run(QUIET)
    assert site.ends() == [(Ending.UNSUITABLE, "not-an-image")]


@pytest.mark.parametrize("code", sorted(UNSUITABLE_PHANTOMS.keys() - {"localizer"}))
def test_every_bad_geometry_has_its_code(site: Site, tmp_path: Path, code: str) -> None:
    scan = make(tmp_path / "bad", UNSUITABLE_PHANTOMS[code])
    receive(site.inbox, scan.paths, T0)
    assert site.sweep.run(QUIET) == 1
    assert site.ends() == [(Ending.UNSUITABLE, code)]


def test_without_a_matching_rule_the_reason_is_recorded(site: Site, tmp_path: Path) -> None:
    receive(site.inbox, make(tmp_path / "ct", Phantom(modality="CT")).paths, T0)
    site.sweep.run(QUIET)
    (history,) = queue.histories(site.engine)
    assert (history.ending, history.arrival.code) == (Ending.NO_RULE, "no-rule")
    assert "modality is CT, not MR" in history.arrival.reason


def test_a_defect_holds_one_series_and_no_other(site: Site, tmp_path: Path) -> None:
    sick = make(tmp_path / "sick", Phantom(seed=2, tags={"SeriesDescription": "sick"}))
    well = make(tmp_path / "well", Phantom(seed=3, tags={"SeriesDescription": "well"}))
    receive(site.inbox, sick.paths, T0)
    receive(site.inbox, well.paths, T0)
    rule = "- {name: lost, when: {description: sick}, use: tiny-mr, send_to: [pacs]}\n- {name"
    config = load_text(RULES.replace("- {name", rule), base=site.config.model.dir.parent)
    usable = [use for use in uses(config) if use.rule != "lost"]  # its package is missing
    sweep = Sweep(config, site.engine, site.inbox, usable, shared_reader())
    assert sweep.run(SETTLED) == 1, "the sound series is decided at once"
    assert sweep.run(SETTLED + 1) == 0
    assert sweep.run(QUIET) == 1, "the other one when no more images come"
    assert sweep.run(QUIET + 1) == 0
    assert sorted(site.ends()) == [(Ending.HELD, "defect"), (Ending.IN_PROGRESS, "")]
    assert site.fresh().run(QUIET + 2) == 0


def test_a_person_replans_after_a_defect_is_corrected(site: Site, head: Scan) -> None:
    folder = receive(site.inbox, head.paths, T0)
    without_package: tuple[Use, ...] = ()
    broken = Sweep(site.config, site.engine, site.inbox, without_package, shared_reader())
    broken.run(QUIET)
    assert site.ends() == [(Ending.HELD, "defect")]
    with pytest.raises(Defect, match="planning this series failed"):  # not corrected yet
        broken.replan(folder, QUIET + 1)
    assert site.ends() == [(Ending.HELD, "defect")]
    recorded = site.fresh().replan(folder, QUIET + 1)
    assert recorded is not None
    assert recorded.job_id is not None
    assert site.ends() == [(Ending.IN_PROGRESS, "")]


def test_new_rules_apply_to_a_series_without_a_job(site: Site, tmp_path: Path) -> None:
    scan = make(tmp_path / "ct", Phantom(modality="CT"))
    folder = receive(site.inbox, scan.paths, T0)
    site.sweep.run(QUIET)
    text = RULES.replace("modality: MR", "modality: CT").replace("use: tiny-mr", "use: none")
    config = load_text(text.replace(", send_to: [pacs]", ""), base=site.config.model.dir.parent)
    assert site.fresh(config).replan(folder, QUIET + 5) is not None
    (history,) = queue.histories(site.engine)
    assert (history.arrival.code, history.arrival.planned_at) == ("rule-says-none", QUIET + 5)


def test_replanning_keeps_an_existing_job(site: Site, head: Scan) -> None:
    folder = receive(site.inbox, head.paths, T0)
    site.sweep.run(SETTLED)
    before = queue.list_jobs(site.engine)
    recorded = site.fresh().replan(folder, QUIET)
    assert recorded is not None
    assert not recorded.is_new
    assert queue.list_jobs(site.engine) == before


def test_replanning_an_empty_folder_does_nothing(site: Site, head: Scan) -> None:
    folder = receive(site.inbox, head.paths, T0)
    for file in site.inbox.instances(folder):
        file.path.unlink()
    assert site.sweep.replan(folder, QUIET) is None
    assert site.sweep.run(QUIET) == 0


def test_a_series_that_still_arrives_has_a_reason_and_a_time(site: Site, head: Scan) -> None:
    receive(site.inbox, head.paths[:5], T0, ends="open")
    (waiting,) = site.waiting(T0 + 1)
    assert (waiting.instances, waiting.caller_ae) == (5, "CT01")
    assert waiting.why == "an association is still open"
    assert waiting.until == T0 + 60
    assert site.sweep.run(T0 + 59) == 0
    assert site.sweep.run(T0 + 60) == 1
    assert queue.arriving_series(site.engine) == []


@pytest.mark.parametrize(
    ("missing", "ends", "after_s", "why"),
    [
        ((), "released", 0.1, "released, settling"),
        ((), "aborted", 0.1, "waiting for quiet"),
        ((5,), "released", 1.5, "more images may come"),
    ],
)
def test_a_waiting_series_names_the_missing_sign_of_completion(
    site: Site, head: Scan, missing: tuple[int, ...], ends: Any, after_s: float, why: str
) -> None:
    sent = [path for z, path in enumerate(head.paths) if z not in missing]
    receive(site.inbox, sent, T0, ends=ends)
    (waiting,) = site.waiting(T0 + after_s)
    assert waiting.why.startswith(why)


def test_a_broken_database_stops_the_sweep_without_a_decision(site: Site, head: Scan) -> None:
    receive(site.inbox, head.paths, T0)
    with site.engine.begin() as connection:
        connection.execute(sa.text("ALTER TABLE arrivals RENAME TO hidden"))
    with pytest.raises(sa.exc.OperationalError):
        site.sweep.run(SETTLED)
    with site.engine.begin() as connection:
        connection.execute(sa.text("ALTER TABLE hidden RENAME TO arrivals"))
    assert site.sweep.run(SETTLED) == 1
