"""How many images the headers announce, against how many came; time is an argument."""

from pathlib import Path

import pydicom

from node import queue
from node.states import Ending
from tests.support.enhanced import enhance
from tests.support.housekeeping import QUIET, SETTLED, Site
from tests.support.phantoms import Phantom, Scan, make
from tests.support.received import receive
from tests.support.rows import T0


def test_fewer_images_than_announced_wait_for_quiet_and_the_story_says_so(
    site: Site, tmp_path: Path
) -> None:
    announced = Phantom(shuffle=False, tags={"ImagesInAcquisition": 12})
    paths = make(tmp_path / "announced", announced).paths
    receive(site.inbox, paths[:7], T0)
    assert site.sweep.run(SETTLED) == 0
    (waiting,) = site.waiting(SETTLED)
    assert waiting.why == "7 of 12 announced images; waiting for quiet"
    assert site.sweep.run(QUIET) == 1, "one acquisition may make several series"
    notes = [e.detail for e in queue.events_of(site.engine) if e.event == "note"]
    assert notes == ["7 of 12 announced images"]
    assert site.ends() == [(Ending.IN_PROGRESS, "")]
    receive(site.inbox, paths[7:], QUIET + 5)
    assert site.sweep.run(QUIET + 7) == 1
    assert [e.event for e in queue.events_of(site.engine)].count("note") == 1


def test_the_first_part_of_a_concatenation_is_no_whole(
    site: Site, head: Scan, tmp_path: Path
) -> None:
    def part(dataset: pydicom.Dataset) -> None:
        dataset.InConcatenationTotalNumber = 2

    first = enhance(head, tmp_path / "1.dcm", part=slice(0, 6), change=part)
    second = enhance(head, tmp_path / "2.dcm", part=slice(6, 12), change=part)
    receive(site.inbox, [first], T0)
    assert site.sweep.run(SETTLED) == 0
    receive(site.inbox, [second], T0 + 3)
    assert site.sweep.run(T0 + 5) == 1
    (history,) = queue.histories(site.engine)
    assert (history.ending, history.arrival.instances) == (Ending.IN_PROGRESS, 2)
