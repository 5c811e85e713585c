"""Test the retention of images, results and histories; time is an argument."""

from pathlib import Path

import msgspec
import pytest

from node import queue
from node.config.units import Seconds
from node.housekeeping import upkeep
from node.inbox import Note, SeriesFolder
from node.states import Ending
from tests.support.housekeeping import DAY_S, HOUR_S, QUIET, SETTLED, Site, other
from tests.support.phantoms import UNSUITABLE_PHANTOMS, Phantom, Scan, make
from tests.support.received import receive
from tests.support.rows import T0


def folders(site: Site) -> list[SeriesFolder]:
    return site.inbox.series_folders()


def test_delivered_images_are_kept_for_keep_sources(site: Site, head: Scan) -> None:
    receive(site.inbox, head.paths, T0)
    site.sweep.run(SETTLED)
    site.segment(T0 + 10, "pacs")
    site.deliver(T0 + HOUR_S)
    assert site.prune(T0 + HOUR_S + 48 * HOUR_S - 1) == 0
    assert len(folders(site)) == 1
    assert site.prune(T0 + HOUR_S + 48 * HOUR_S + 1) == 1
    assert folders(site) == []
    assert len(queue.histories(site.engine)) == 1, "the history outlives the images"


@pytest.mark.parametrize(("code", "days"), [("missing-slice", 14), ("no-rule", 2)])
def test_images_without_a_result_are_kept_by_their_ending(
    site: Site, tmp_path: Path, code: str, days: int
) -> None:
    phantom = UNSUITABLE_PHANTOMS[code] if code in UNSUITABLE_PHANTOMS else Phantom(modality="CT")
    receive(site.inbox, make(tmp_path / "x", phantom).paths, T0)
    site.sweep.run(QUIET)
    assert [row for _, row in site.ends()] == [code]
    assert site.prune(QUIET + days * DAY_S - 1) == 0
    assert site.prune(QUIET + days * DAY_S + 1) == 1


def test_a_series_in_progress_is_never_deleted_or_decided_again(site: Site, head: Scan) -> None:
    receive(site.inbox, head.paths, T0)
    site.sweep.run(QUIET)
    before = site.ends()
    for years in range(1, 4):
        assert site.prune(T0 + years * 365 * DAY_S) == 0
    assert len(folders(site)) == 1
    assert site.fresh().run(T0 + 5 * 365 * DAY_S) == 0
    assert site.ends() == before


def test_a_held_series_is_kept_for_keep_failed(site: Site, head: Scan, tmp_path: Path) -> None:
    duplicate = other(head.paths[3], tmp_path / "duplicate", PixelData=bytes(20 * 16 * 2))
    receive(site.inbox, [*head.paths, duplicate], T0)
    site.sweep.run(QUIET)
    assert site.prune(QUIET + 14 * DAY_S - 1) == 0
    assert len(folders(site)) == 1
    assert site.prune(QUIET + 14 * DAY_S + 1) == 1
    assert folders(site) == []
    site.prune(QUIET + 31 * DAY_S)
    assert queue.histories(site.engine) == []


def test_undecided_late_images_are_never_deleted_with_an_old_history(
    site: Site, head: Scan
) -> None:
    receive(site.inbox, head.paths[:-2], T0)
    site.sweep.run(QUIET)
    site.segment(QUIET + 1, "pacs")
    site.deliver(QUIET + 2)
    late = T0 + 60 * DAY_S
    receive(site.inbox, head.paths[-2:], late, ends="open")
    assert site.prune(late + 1) == 1, "the result of sixty days ago"
    assert len(folders(site)) == 1
    assert site.sweep.run(late + 61) == 1
    assert queue.histories(site.engine)[-1].arrival.instances == len(head.paths)


def test_the_history_of_a_late_delivery_outlives_its_images(site: Site, head: Scan) -> None:
    receive(site.inbox, head.paths, T0)
    site.sweep.run(SETTLED)
    site.segment(T0 + 10, "pacs")
    late = T0 + 40 * DAY_S  # the archive was down for longer than any retention
    site.deliver(late)
    site.prune(late + 60)
    assert len(folders(site)) == 1
    assert site.fresh().run(late + 120) == 0, "decided a second time"
    site.prune(late + 3 * DAY_S)
    assert folders(site) == []
    assert site.prune(late + 4 * DAY_S) == 0
    assert queue.histories(site.engine) == []


def resends(site: Site) -> list[tuple[float, str]]:
    return [(e.at, e.detail) for e in queue.events_of(site.engine) if e.event == "resent"]


@pytest.mark.parametrize("days", [1, 10], ids=["before they were deleted", "after"])
def test_resent_images_start_a_new_retention_and_are_in_the_history(
    site: Site, head: Scan, days: int
) -> None:
    receive(site.inbox, head.paths, T0)
    site.sweep.run(SETTLED)
    site.segment(T0 + 10, "pacs")
    site.deliver(T0 + 20)
    resent_at = T0 + days * DAY_S
    site.prune(resent_at)
    assert site.sweep.run(resent_at) == 0
    assert resends(site) == []
    receive(site.inbox, head.paths, resent_at)
    assert site.sweep.run(resent_at + 100) == 0, "the same images need no new job"
    ((at, detail),) = resends(site)
    assert at == resent_at
    assert "`segnode jobs resend 1`" in detail
    site.prune(resent_at + 2 * DAY_S - 1)
    assert len(folders(site)) == 1
    receive(site.inbox, head.paths[:1], resent_at + HOUR_S)
    assert site.fresh().run(resent_at + 2 * HOUR_S) == 0
    assert [at for at, _ in resends(site)] == [resent_at], "one event a day"
    site.prune(resent_at + HOUR_S + 2 * DAY_S + 1)
    assert folders(site) == []


def test_resent_images_without_a_job_can_be_replanned(site: Site, tmp_path: Path) -> None:
    paths = make(tmp_path / "ct", Phantom(modality="CT")).paths
    receive(site.inbox, paths, T0)
    site.sweep.run(QUIET)
    receive(site.inbox, paths, QUIET + DAY_S)
    site.sweep.run(QUIET + DAY_S + 5)
    ((_, detail),) = resends(site)
    assert f"segnode jobs replan {queue.histories(site.engine)[0].arrival.series_uid}" in detail
    site.prune(QUIET + 3 * DAY_S - 1)
    assert len(folders(site)) == 1


def outbox(site: Site) -> list[str]:
    return sorted(path.name for path in (site.config.data.dir / "outbox").iterdir())


def test_results_are_kept_while_a_delivery_needs_them(site: Site, head: Scan) -> None:
    receive(site.inbox, head.paths, T0)
    site.sweep.run(SETTLED)
    site.segment(T0 + 10, "pacs", "viewer")
    site.deliver(T0 + 20)
    site.prune(T0 + 90 * DAY_S)
    assert len(outbox(site)) == 1
    site.deliver(T0 + 90 * DAY_S, "viewer")
    assert site.prune(T0 + 90 * DAY_S + 1) == 1
    assert outbox(site) == []


def test_results_are_kept_for_keep_results(site: Site, head: Scan) -> None:
    receive(site.inbox, head.paths, T0)
    site.sweep.run(SETTLED)
    site.segment(T0 + 10, "pacs")
    site.deliver(T0 + 20)
    site.prune(T0 + 10 + 30 * DAY_S - 1)
    assert len(outbox(site)) == 1
    site.prune(T0 + 10 + 30 * DAY_S + 1)
    assert outbox(site) == []


def test_notes_of_rejections_are_purged(site: Site) -> None:
    note = Note(kind="rejected-association", message="UNKNOWN may not send")
    for day in (0, 10):
        site.inbox.note(note, T0 + day * DAY_S)
        upkeep.record_notes(site.engine, site.inbox, T0 + day * DAY_S)
    site.prune(T0 + 31 * DAY_S)
    assert [event.at for event in queue.notes(site.engine)] == [T0 + 10 * DAY_S]


def kept_for_years(site: Site) -> None:
    keep = msgspec.structs.replace(site.config.data.keep, history=Seconds(5 * 365 * DAY_S))
    data = msgspec.structs.replace(site.config.data, keep=keep)
    site.config = msgspec.structs.replace(site.config, data=data)


def test_the_history_outlives_images_and_results_by_years(site: Site, head: Scan) -> None:
    kept_for_years(site)
    receive(site.inbox, head.paths, T0)
    site.sweep.run(SETTLED)
    site.segment(T0 + 10, "pacs")
    site.deliver(T0 + 20)
    site.prune(T0 + 40 * DAY_S)
    site.prune(T0 + 41 * DAY_S)
    assert folders(site) == []
    events = queue.events_of(site.engine)
    site.prune(T0 + 4 * 365 * DAY_S)
    assert queue.events_of(site.engine) == events
    assert [ending for ending, _ in site.ends()] == [Ending.DELIVERED]
    for job in queue.list_jobs(site.engine):
        with pytest.raises(queue.Archived):
            queue.resend(site.engine, job.id, T0 + 42 * DAY_S)
    assert queue.list_jobs(site.engine)[-1].segment_payload().files == ()
    site.prune(T0 + 5 * 365 * DAY_S + 60)
    assert queue.histories(site.engine) == []


def test_the_same_images_are_decided_anew_after_their_files_were_deleted(
    site: Site, head: Scan
) -> None:
    kept_for_years(site)
    receive(site.inbox, head.paths, T0)
    site.sweep.run(SETTLED)
    site.segment(T0 + 10, "pacs")
    site.deliver(T0 + 20)
    for day in (40, 41):
        site.prune(T0 + day * DAY_S)
    again = T0 + 90 * DAY_S
    receive(site.inbox, head.paths, again)
    assert site.fresh().run(again + 100) == 1
    site.segment(again + 110, "pacs")
    site.deliver(again + 120)
    first, second = queue.histories(site.engine)
    assert first.arrival.series_uid == second.arrival.series_uid
    assert (first.ending, second.ending) == (Ending.DELIVERED, Ending.DELIVERED)
    assert first.arrival.job_id != second.arrival.job_id
    site.prune(again + 100 * DAY_S)
    assert len(queue.histories(site.engine)) == 2
