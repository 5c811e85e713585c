"""The upkeep of the node: notes, leases, heartbeats, and the loop that calls all of it."""

import os
import time
from threading import Event, Thread

from node import housekeeping, queue
from node.housekeeping import upkeep
from node.inbox import Note
from node.states import Kind, State
from tests.support.housekeeping import SETTLED, Site
from tests.support.phantoms import Scan
from tests.support.received import receive
from tests.support.rows import T0
from tests.support.running import wait_until


def test_notes_are_recorded_and_then_deleted(site: Site) -> None:
    note = Note(kind="rejected-association", message="UNKNOWN may not send", advice="Add it.")
    for _ in range(3):
        site.inbox.note(note, T0)
    upkeep.record_notes(site.engine, site.inbox, T0 + 5)
    upkeep.record_notes(site.engine, site.inbox, T0 + 6)
    (event,) = queue.notes(site.engine)
    assert event.event == "rejected-association"
    assert event.detail == "UNKNOWN may not send (3 times). Add it."
    assert event.at == T0
    assert site.inbox.read_notes() == []


def test_a_note_about_a_series_is_in_its_history(site: Site, head: Scan) -> None:
    receive(site.inbox, head.paths, T0)
    site.sweep.run(SETTLED)
    (history,) = queue.histories(site.engine)
    site.inbox.note(
        Note(kind="rejected-instance", message="too large", study=history.arrival.study_uid), T0 + 9
    )
    upkeep.record_notes(site.engine, site.inbox, T0 + 10)
    events = queue.events_of(site.engine, study_uid=history.arrival.study_uid)
    assert events[-1].event == "rejected-instance"


def test_the_job_of_a_worker_that_does_not_respond_is_requeued(site: Site, head: Scan) -> None:
    receive(site.inbox, head.paths, T0)
    site.sweep.run(SETTLED)
    assert queue.claim(site.engine, Kind.SEGMENT, "w", T0 + 5, 30.0) is not None
    upkeep.expire_leases(site.engine, site.config, T0 + 34)
    assert queue.counts(site.engine)[Kind.SEGMENT, State.RUNNING] == 1
    upkeep.expire_leases(site.engine, site.config, T0 + 36)
    assert queue.counts(site.engine)[Kind.SEGMENT, State.QUEUED] == 1


def test_the_heartbeat_has_process_and_time(site: Site) -> None:
    upkeep.write_heartbeat(site.engine, T0)
    upkeep.write_heartbeat(site.engine, T0 + 10)
    (beat,) = queue.beats(site.engine)
    assert (beat.process, beat.pid, beat.at) == ("housekeeping", os.getpid(), T0 + 10)


def test_the_loop_calls_all_functions_and_stops(site: Site, head: Scan) -> None:
    receive(site.inbox, head.paths, time.time() - 100)
    site.inbox.note(Note(kind="no-context", message="nothing fits"), T0)
    stop = Event()
    loop = Thread(target=housekeeping.run, args=(site.config, stop))
    loop.start()
    try:
        wait_until(
            lambda: bool(queue.histories(site.engine) and queue.notes(site.engine)),
            describe=lambda: "the loop did not sweep",
        )
    finally:
        stop.set()
        loop.join(240)
    assert not loop.is_alive()
    assert [beat.process for beat in queue.beats(site.engine)] == ["housekeeping"]
