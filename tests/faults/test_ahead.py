"""Work ahead of a job: late images and kill -9 at each point change no result and no delivery."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import psutil
import pytest

from node import ahead, queue, segmenter
from node.ahead import Offer
from node.queue import Job
from node.segmenter.ahead import WorkAhead
from node.segmenter.requests import request_of
from node.segmenter.warm import WarmChild
from node.segmenter.work import segment_series
from node.series.compose import Labelling, compose
from node.states import Ending, State
from tests.support.orthanc import Orthanc, needs_orthanc
from tests.support.orthanc import started as orthanc_started
from tests.support.packages import make_tiny_package, phantom
from tests.support.phantoms import Phantom
from tests.support.running import Node, needs_dcmtk, started, storescu, wait_until
from tests.support.segmenting import ONE_MM, Site, make_site

SETTLE_S = 4.0  # usually the result is there before it is over; what is promised holds either way


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return make_site(tmp_path)


@pytest.fixture
def warm(site: Site) -> Iterator[WarmChild]:
    child = WarmChild(site.config.limits)
    child.ready()
    yield child
    child.close()


def job_and_offer(site: Site, phantom: Phantom = ONE_MM) -> Job:
    """Return a job that was offered before it was recorded."""
    _, job_id = site.add_series(phantom=phantom)
    job = queue.get(site.engine, job_id)
    ahead.offer(site.config.data.dir, Offer(dedup_key=job.dedup_key, payload=job.segment_payload()))
    return job


def step(work: WorkAhead, warm: WarmChild) -> bool:
    return work.step(warm, lambda: None, lambda _stage: None)


def test_the_result_ahead_of_a_job_is_that_of_the_job(site: Site, warm: WarmChild) -> None:
    job = job_and_offer(site)
    work = WorkAhead(site.config)
    assert step(work, warm)
    assert not step(work, warm), "an offer is worked on once"
    request = request_of(site.config, job, job.segment_payload())
    done = work.take(request)
    assert done is not None
    expected = segment_series(request, 1, lambda _stage, _share: None).done
    assert (done.objects, done.volumes_ml) == (expected.objects, expected.volumes_ml)
    assert work.take(request) is None


@pytest.mark.parametrize(
    "change",
    [{"created_at": 5.0}, {"size": "tiny"}, {"inputs_digest": "b" * 64}, {"package_digest": "c"}],
)
def test_a_job_that_asks_for_anything_else_is_segmented(
    site: Site, warm: WarmChild, change: dict[str, object]
) -> None:
    job = job_and_offer(site)
    work = WorkAhead(site.config)
    assert step(work, warm)
    other = msgspec.structs.replace(job.segment_payload(), **change)
    assert work.take(request_of(site.config, job, other)) is None


def test_an_error_ahead_of_a_job_is_left_to_the_job(site: Site) -> None:
    job = job_and_offer(site, Phantom(drop=(4,)))
    with contextlib.closing(WarmChild(site.config.limits)) as child:
        child.ready()
        work = WorkAhead(site.config)
        assert step(work, child)
        assert work.take(request_of(site.config, job, job.segment_payload())) is None
    assert queue.get(site.engine, job.id).state is State.QUEUED
    segmenter.run(site.config, once=True)
    assert queue.get(site.engine, job.id).state is State.UNSUITABLE


def test_a_running_segmenter_works_ahead_and_commits_only_the_job(site: Site) -> None:
    job = job_and_offer(site)
    queue.cancel(site.engine, job.id, 1.0)  # only its offer is left
    stop = threading.Event()
    thread = threading.Thread(target=segmenter.run, args=(site.config, stop))
    thread.start()
    try:
        outbox = site.config.data.dir / "outbox"
        wait_until(lambda: len(list(outbox.glob("*/*.dcm"))) == 1, describe=lambda: "no object")
        (path,) = outbox.glob("*/*.dcm")
        before = path.stat().st_mtime_ns
        assert queue.get(site.engine, job.id).state is State.CANCELLED
        queue.requeue(site.engine, job.id, 2.0)
        wait_until(
            lambda: queue.get(site.engine, job.id).state is State.DONE,
            describe=lambda: queue.get(site.engine, job.id).state,
        )
        assert path.stat().st_mtime_ns == before, "it was segmented once"
    finally:
        stop.set()
        thread.join()


# -- the whole node


@pytest.fixture(scope="module")
def series(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("series")
    moment = datetime(2026, 1, 2, tzinfo=UTC)
    return list(compose(phantom((20, 24, 22)), folder / "a", Labelling(), moment).files)


@pytest.fixture
def node(tmp_path: Path) -> Iterator[tuple[Node, Orthanc]]:
    orthanc = Orthanc(tmp_path / "orthanc")
    make_tiny_package(tmp_path / "models")
    changes = {
        "complete": {"settle": f"{SETTLE_S} s", "quiet": "20 s"},
        "limits": {"time": "60 s", "threads": 1, "attempts": 20},
    }
    one = Node(tmp_path / "node", orthanc.dicom_port, tmp_path / "models", changes=changes)
    with orthanc_started(orthanc), started(one):
        yield one, orthanc


def is_offered(node: Node) -> bool:
    return bool(ahead.offers(node.folder / "data"))


def is_segmented(node: Node) -> bool:
    return bool(list((node.folder / "data/outbox").glob("*/*.dcm")))


Point = Callable[[Node], bool]


def wait_for(node: Node, point: Point) -> None:
    """Wait for a state that lasts a moment; a busy machine may decide before it is seen."""
    wait_until(lambda: point(node) or bool(node.histories()), describe=lambda: "not reached")


def kill(node: Node, word: str) -> None:
    """Kill the processes with `word` in their command line, as soon as there is one."""
    victims: list[psutil.Process] = []

    def are_running() -> bool:
        victims[:] = [one for one in node.processes()[1:] if word in " ".join(one.cmdline())]
        return bool(victims)

    wait_until(are_running, describe=lambda: f"no process {word}")
    for victim in victims:
        victim.send_signal(signal.SIGKILL)
    psutil.wait_procs(victims, 60)


def check_results(node: Node, orthanc: Orthanc, images: int) -> None:
    """Each set of images is decided once, after it settled; each decision has one result."""
    histories: list[queue.SeriesHistory] = []

    def is_over() -> bool:
        histories[:] = node.histories()
        in_progress = [one for one in histories if one.ending is Ending.IN_PROGRESS]
        return any(one.arrival.instances == images for one in histories) and not in_progress

    wait_until(is_over, describe=lambda: str([one.ending for one in histories]))
    digests = {history.arrival.inputs_digest for history in histories}
    assert len(digests) == len(histories)
    complete = [one for one in histories if one.arrival.instances == images]
    assert [one.ending for one in complete] == [Ending.DELIVERED]
    delivered = [one for one in histories if one.ending is Ending.DELIVERED]
    assert len(orthanc.series("SEG")) == len(delivered)
    for one in histories:
        assert one.arrival.planned_at >= one.arrival.last_at + SETTLE_S - 0.1
    assert not is_offered(node)


whole_node = [pytest.mark.orthanc, pytest.mark.dcmtk, pytest.mark.slow, needs_orthanc, needs_dcmtk]


class TestNode:
    """`segnode serve` with an Orthanc."""

    pytestmark = whole_node

    @pytest.mark.parametrize("point", [is_offered, is_segmented])
    @pytest.mark.parametrize("victim", ["segmenter.child", "--only segmenter", "housekeeping"])
    def test_kill_minus_9(
        self, node: tuple[Node, Orthanc], series: list[Path], point: Point, victim: str
    ) -> None:
        one, orthanc = node
        assert storescu(one.port, series) == 0
        wait_for(one, point)
        kill(one, victim)
        check_results(one, orthanc, len(series))

    @pytest.mark.parametrize("point", [is_offered, is_segmented])
    def test_a_late_image(
        self, node: tuple[Node, Orthanc], series: list[Path], point: Point
    ) -> None:
        one, orthanc = node
        assert storescu(one.port, series[:-2]) == 0
        wait_for(one, point)
        assert storescu(one.port, series[-2:]) == 0
        check_results(one, orthanc, len(series))

    @pytest.mark.parametrize("point", [is_offered, is_segmented])
    def test_the_same_images_again(
        self, node: tuple[Node, Orthanc], series: list[Path], point: Point
    ) -> None:
        one, orthanc = node
        assert storescu(one.port, series) == 0
        wait_for(one, point)
        assert storescu(one.port, series[:3]) == 0
        check_results(one, orthanc, len(series))
