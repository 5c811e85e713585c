"""A series that settles is offered to the segmenter; its job comes as it would without that."""

from pathlib import Path

import pytest

from node import ahead, queue
from node.inbox import SeriesFolder
from node.queue import SegmentPayload
from tests.support.housekeeping import QUIET, SETTLED, Site, other
from tests.support.phantoms import Phantom, Scan, make
from tests.support.received import receive
from tests.support.rows import T0

SETTLING = T0 + 0.5  # after the release, before `complete.settle` is over


def offers(site: Site) -> list[ahead.Offer]:
    return ahead.offers(site.config.data.dir)


def payload(site: Site) -> SegmentPayload:
    (history,) = queue.histories(site.engine)
    assert history.segment is not None
    return history.segment.segment_payload()


def test_a_released_series_is_offered_with_the_job_that_it_gets(site: Site, head: Scan) -> None:
    receive(site.inbox, head.paths, T0)
    assert site.sweep.run(SETTLING) == 0
    assert queue.histories(site.engine) == []
    (offer,) = offers(site)
    assert site.sweep.run(SETTLED) == 1
    (history,) = queue.histories(site.engine)
    assert history.segment is not None
    assert history.segment.segment_payload() == offer.payload
    assert history.segment.dedup_key == offer.dedup_key
    assert offer.payload.created_at == SETTLING
    assert history.arrival.planned_at == SETTLED
    assert offers(site) == [], "the job took its place"


def test_a_gap_or_an_open_association_is_not_offered(site: Site, tmp_path: Path) -> None:
    gap = make(tmp_path / "gap", Phantom(drop=(5,)))
    receive(site.inbox, gap.paths, T0)
    site.sweep.run(SETTLING)
    assert offers(site) == []


def test_a_series_that_gets_no_job_is_not_offered(site: Site, tmp_path: Path) -> None:
    receive(site.inbox, make(tmp_path / "ct", Phantom(modality="CT")).paths, T0)
    site.sweep.run(SETTLING)
    assert offers(site) == []
    assert site.sweep.run(SETTLED) == 1


def late(site: Site, head: Scan, paths: list[Path]) -> SeriesFolder:
    """Receive most of a series, let it settle for a moment, then receive `paths`."""
    receive(site.inbox, head.paths[:-2], T0)
    site.sweep.run(SETTLING)
    assert len(offers(site)) == 1
    return receive(site.inbox, paths, T0 + 0.8)


@pytest.mark.parametrize("moment", ["before the offer is seen", "after a sweep"])
def test_a_late_image_withdraws_the_offer(site: Site, head: Scan, moment: str) -> None:
    head = Scan(sorted(head.paths), head.labels, head.values, head.affine, head.uids)
    late(site, head, head.paths[-2:])
    if moment == "after a sweep":
        assert site.sweep.run(T0 + 1.2) == 0
        assert offers(site) == [], "other images are no job of the first ones"
    assert site.sweep.run(T0 + 1.7) == 0, "settle begins anew with the late images"
    assert site.sweep.run(T0 + 1.9) == 1
    chosen = payload(site)
    assert len(chosen.files) == len(head.paths)
    assert chosen.created_at == T0 + 1.9
    assert offers(site) == []


def test_the_same_image_again_keeps_the_offer(site: Site, head: Scan) -> None:
    receive(site.inbox, head.paths, T0)
    site.sweep.run(SETTLING)
    (offer,) = offers(site)
    receive(site.inbox, head.paths[:3], T0 + 0.8)
    assert site.sweep.run(T0 + 1.2) == 0
    assert offers(site) == [offer]
    assert site.sweep.run(T0 + 1.9) == 1
    assert payload(site) == offer.payload


def test_another_content_of_an_image_is_no_result_of_the_first(
    site: Site, head: Scan, tmp_path: Path
) -> None:
    receive(site.inbox, head.paths, T0)
    site.sweep.run(SETTLING)
    copy = other(head.paths[0], tmp_path / "changed", Rows=10)
    receive(site.inbox, [copy, head.paths[1]], T0 + 0.8)
    site.sweep.run(T0 + 1.2)
    assert offers(site) == []
    site.sweep.run(QUIET)
    (history,) = queue.histories(site.engine)
    assert history.segment is None


def test_after_a_restart_the_job_comes_without_the_offer(site: Site, head: Scan) -> None:
    receive(site.inbox, head.paths, T0)
    site.sweep.run(SETTLING)
    ahead.withdraw_all(site.config.data.dir)  # as the loop does when it starts
    assert site.fresh().run(SETTLED) == 1
    assert payload(site).created_at == SETTLED
    assert offers(site) == []


def test_a_damaged_offer_is_ignored(site: Site, head: Scan) -> None:
    receive(site.inbox, head.paths, T0)
    site.sweep.run(SETTLING)
    for path in (site.config.data.dir / ahead.FOLDER).glob("*.json"):
        path.write_bytes(path.read_bytes()[:40])
    assert offers(site) == []
    assert site.sweep.run(SETTLED) == 1
