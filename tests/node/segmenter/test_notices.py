"""A series that cannot be segmented: targets that request it get a notice, others nothing."""

from pathlib import Path

import msgspec
import pydicom
import pytest

from node import queue, segmenter
from node.dicom.uids import NOTICE_CLASS
from node.queue import Destination, Reason
from node.states import Ending, Kind, State
from tests.support.phantoms import Phantom
from tests.support.segmenting import PACS, Site, make_site

TOLD = Destination(name="told", notice=True)
THIN = Phantom(spacing_mm=(1.0, 1.0, 1.0), shape=(12, 20, 16), drop=(5,))


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return make_site(tmp_path)


def segment(site: Site) -> None:
    config = msgspec.structs.replace(site.config, targets={})
    segmenter.run(config, once=True)


def deliveries(site: Site) -> list[queue.Job]:
    return queue.list_jobs(site.engine, kind=Kind.DELIVER)


@pytest.mark.slow
def test_a_notice_goes_to_the_target_that_requests_it(site: Site) -> None:
    _, job_id = site.add_series(1, THIN, targets=(PACS, TOLD))
    segment(site)
    job = queue.get(site.engine, job_id)
    assert (job.state, job.code) == (State.UNSUITABLE, "missing-slice")
    (delivery,) = deliveries(site)
    assert (delivery.target, delivery.state) == ("told", State.QUEUED)
    payload = delivery.deliver_payload()
    notice = pydicom.dcmread(site.config.data.dir / payload.file)
    assert notice.SOPClassUID == payload.sop_class_uid == NOTICE_CLASS
    (history,) = queue.histories(site.engine)
    assert history.ending is Ending.IN_PROGRESS, "the notice is not delivered yet"
    sent = queue.claim(site.engine, Kind.DELIVER, "s", delivery.queued_at + 1, 60.0, "told")
    assert sent is not None
    queue.finish_delivery(
        site.engine, sent, queue.DeliverResult(status="Success"), delivery.queued_at + 2
    )
    (history,) = queue.histories(site.engine)
    assert history.ending is Ending.UNSUITABLE, "a notice is no result"


@pytest.mark.slow
def test_a_planned_reason_is_repeated_without_reading_pixels(site: Site) -> None:
    reason = Reason(code="uneven-spacing", message="slices are 9 mm apart", advice="")
    _, job_id = site.add_series(1, targets=(TOLD,), unsuitable=reason)
    segment(site)
    job = queue.get(site.engine, job_id)
    assert (job.state, job.reason) == (State.UNSUITABLE, "slices are 9 mm apart")
    assert len(deliveries(site)) == 1


@pytest.mark.slow
def test_without_a_request_nothing_is_sent(site: Site) -> None:
    _, job_id = site.add_series(1, THIN, targets=(PACS,))
    segment(site)
    assert queue.get(site.engine, job_id).state is State.UNSUITABLE
    assert deliveries(site) == []
    assert not list(site.config.data.dir.glob("outbox/*/notice.dcm"))
