"""The segmenter's child is killed, hangs, needs too much memory, or loses its parent."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest

from node import queue, segmenter
from node.config.units import Bytes, Seconds
from node.queue import Policy
from node.segmenter import loop
from node.states import Kind, State
from tests.support import processes
from tests.support.phantoms import Phantom
from tests.support.segmenting import ONE_MM, PACS, VIEWER, Site, make_site

LONG_S = 240.0
# a network that takes long enough for a fault in between, and a few hundred MB
SLOW: dict[str, Any] = {"patch_zyx": (32, 32, 32), "ballast": 1500}
WIDE = Phantom(spacing_mm=(1.0, 1.0, 1.0), shape=(64, 64, 64))


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return make_site(tmp_path)


@pytest.fixture
def slow_site(tmp_path: Path) -> Site:
    return make_site(tmp_path, **SLOW)


def end_of(site: Site, job_id: int) -> tuple[State, str]:
    job = queue.get(site.engine, job_id)
    return job.state, job.code


def children() -> list[psutil.Process]:
    return [child for child in psutil.Process().children(recursive=True) if is_ours(child)]


def is_ours(process: psutil.Process) -> bool:
    try:
        return "node.segmenter.child" in process.cmdline()
    except psutil.Error:  # it has just ended
        return False


def wait_for(condition: Callable[[], Any], seconds: float = LONG_S) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        answer = condition()
        if answer:
            return answer
        time.sleep(0.02)
    raise TimeoutError


@pytest.fixture
def disturb() -> Iterator[Callable[[Site, Callable[[psutil.Process], None]], None]]:
    """Apply a fault to the child as soon as the job runs and the child is busy."""
    threads: list[threading.Thread] = []

    def begin(site: Site, act: Callable[[psutil.Process], None]) -> None:
        def later() -> None:
            wait_for(lambda: queue.counts(site.engine)[Kind.SEGMENT, State.RUNNING])
            time.sleep(0.3)
            act(wait_for(children)[0])

        threads.append(threading.Thread(target=later))
        threads[0].start()

    yield begin
    for thread in threads:
        thread.join()


def test_a_series_becomes_objects_and_deliveries(site: Site) -> None:
    _, job_id = site.add_series(targets=(PACS, VIEWER))
    segmenter.run(site.config, once=True)
    assert end_of(site, job_id) == (State.DONE, "")
    (history,) = queue.histories(site.engine)
    payloads = [job.deliver_payload() for job in history.deliveries]
    assert [payload.target for payload in payloads] == ["pacs", "viewer"]
    for payload in payloads:
        path = site.config.data.dir / payload.file
        assert path.stat().st_size == payload.size_bytes
    assert children() == []


def test_one_child_does_several_jobs_and_survives_an_unsuitable_one(site: Site) -> None:
    jobs = [
        site.add_series(n, phantom)[1]
        for n, phantom in enumerate((ONE_MM, Phantom(seed=2, drop=(4,)), Phantom(seed=3)), start=1)
    ]
    pids = set()
    thread = threading.Thread(target=segmenter.run, args=(site.config,), kwargs={"once": True})
    thread.start()
    while thread.is_alive():
        pids |= {child.pid for child in children()}
        time.sleep(0.05)
    assert [end_of(site, job) for job in jobs] == [
        (State.DONE, ""),
        (State.UNSUITABLE, "missing-slice"),
        (State.DONE, ""),
    ]
    assert len(pids) == 1


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"package_digest": "1" * 64}, (State.FAILED, "bad-package")),
        ({"package": "tiny-mr/9.9"}, (State.FAILED, "bad-package")),
        ({"size": "large"}, (State.FAILED, "misconfigured")),
        ({"files": ("gone.dcm",)}, (State.FAILED, "defect")),
    ],
)
def test_an_error_crosses_the_pipe_with_its_class(
    site: Site, changes: dict[str, Any], expected: tuple[State, str]
) -> None:
    _, job_id = site.add_series(**changes)
    segmenter.run(site.config, once=True)
    assert end_of(site, job_id) == expected
    assert queue.get(site.engine, job_id).reason


def test_a_killed_child_requeues_its_job(
    slow_site: Site, disturb: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # on a busy machine the next child starts later than the usual first delay ends
    delayed = Policy(give_up_after_s=LONG_S, first_delay_s=LONG_S)
    monkeypatch.setattr(loop, "policy_of", lambda _: delayed)
    _, job_id = slow_site.add_series(1, WIDE)
    disturb(slow_site, lambda child: child.kill())
    segmenter.run(slow_site.config, once=True)
    assert end_of(slow_site, job_id) == (State.QUEUED, "child-killed")
    assert "killed by signal 9" in queue.get(slow_site.engine, job_id).reason


def test_a_hanging_child_is_killed(slow_site: Site, disturb: Any) -> None:
    _, job_id = slow_site.add_series(1, WIDE)
    disturb(slow_site, lambda child: child.send_signal(signal.SIGSTOP))
    segmenter.run(slow_site.limited(time=Seconds(10)), once=True)
    assert end_of(slow_site, job_id) == (State.FAILED, "timed-out")
    assert children() == []


def test_a_child_above_its_memory_limit_is_killed_and_the_next_job_runs(tmp_path: Path) -> None:
    site = make_site(tmp_path, patch_zyx=(64, 64, 64), ballast=1000)  # 1 GB for one layer
    _, job_id = site.add_series(1, Phantom(spacing_mm=(1.0, 1.0, 1.0), shape=(64, 64, 64)))
    segmenter.run(site.limited(memory=Bytes(700 << 20)), once=True)
    assert end_of(site, job_id) == (State.FAILED, "out-of-memory")
    assert "limits.memory" in queue.get(site.engine, job_id).advice
    _, next_job = site.add_series(2, Phantom(seed=2, drop=(5,)))
    segmenter.run(site.limited(memory=Bytes(700 << 20)), once=True)
    assert end_of(site, next_job) == (State.UNSUITABLE, "missing-slice")


def test_a_cancelled_job_stops_its_child(slow_site: Site, disturb: Any) -> None:
    _, job_id = slow_site.add_series(1, WIDE)

    def cancel(child: psutil.Process) -> None:
        child.send_signal(signal.SIGSTOP)  # it must not finish before the cancellation is noticed
        queue.cancel(slow_site.engine, job_id, time.time())

    disturb(slow_site, cancel)
    segmenter.run(slow_site.config, once=True)
    assert end_of(slow_site, job_id) == (State.CANCELLED, "cancelled")
    assert children() == []


def test_a_job_that_another_worker_took_over_is_dropped(
    slow_site: Site, disturb: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "EXTEND_S", 0.5)
    _, job_id = slow_site.add_series(1, WIDE)

    def take_over(child: psutil.Process) -> None:
        child.send_signal(signal.SIGSTOP)
        queue.expire_leases(slow_site.engine, time.time() + 1000, max_attempts=9)
        queue.claim(slow_site.engine, Kind.SEGMENT, "other", time.time() + 1001, LONG_S)

    disturb(slow_site, take_over)
    segmenter.run(slow_site.config, once=True)
    job = queue.get(slow_site.engine, job_id)
    assert (job.state, job.worker) == (State.RUNNING, "other")
    assert children() == []


def start_segmenter(site: Site) -> "subprocess.Popen[bytes]":
    config = msgspec.json.encode(
        {
            "data": str(site.config.data.dir),
            "models": str(site.config.model.dir),
        }
    ).decode()
    program = (
        "import json, sys\n"
        "from pathlib import Path\n"
        "from node import segmenter\n"
        "from node.config import Config, DataConfig, Limits, ModelConfig\n"
        "folders = json.loads(sys.argv[1])\n"
        "segmenter.run(Config(data=DataConfig(dir=Path(folders['data'])),\n"
        "    model=ModelConfig(dir=Path(folders['models'])),\n"
        "    limits=Limits(threads=1, niceness=0)))\n"
    )
    root = Path(__file__).parents[2]
    return processes.start([sys.executable, "-c", program, config], cwd=root)


def test_a_child_ends_with_its_segmenter_and_another_finishes_the_job(slow_site: Site) -> None:
    _, job_id = slow_site.add_series(1, WIDE)
    process = start_segmenter(slow_site)
    try:
        wait_for(lambda: queue.counts(slow_site.engine)[Kind.SEGMENT, State.RUNNING])
        (child,) = wait_for(children)
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    wait_for(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)
    objects = list((slow_site.config.data.dir / "outbox").glob("*/*.dcm"))
    assert objects == [], "the child finished its job before it ended"
    assert end_of(slow_site, job_id)[0] is State.RUNNING
    queue.expire_leases(slow_site.engine, time.time() + 1000, max_attempts=3)
    with slow_site.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE jobs SET not_before = 0")
    segmenter.run(slow_site.config, once=True)
    assert end_of(slow_site, job_id) == (State.DONE, "")
    names = [path.name for path in (slow_site.config.data.dir / "outbox").glob("*/*.dcm")]
    assert names == ["seg-binary.dcm"]


def test_a_child_limits_itself(site: Site) -> None:
    stop = threading.Event()
    config = site.limited(niceness=7)
    thread = threading.Thread(target=segmenter.run, args=(config, stop))
    thread.start()
    try:
        (child,) = wait_for(children)
        wait_for(lambda: queue.beats(site.engine))
        assert child.nice() >= 7
        score = Path(f"/proc/{child.pid}/oom_score_adj").read_text(encoding="ascii")
        assert score.strip() == "1000"
        assert child.rlimit(psutil.RLIMIT_CORE) == (0, 0)
    finally:
        stop.set()
        thread.join()
    assert children() == []
