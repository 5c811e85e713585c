"""The child rehearses before a study arrives; it leaves no files, and studies do not need it."""

import logging
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import psutil
import pytest

from node import queue, segmenter
from node.config import Config, Rule
from node.segmenter.messages import Done, RehearsalRequest
from node.segmenter.rehearse import FOLDER, rehearsals, rehearse
from node.segmenter.requests import identity_of, request_of
from node.segmenter.warm import WarmChild
from tests.support.segmenting import Site, make_site

WITHIN_S = 240.0
SLOW = {"patch_zyx": (32, 32, 32), "ballast": 1500}


def with_rules(site: Site, *uses: str) -> Config:
    rules = tuple(Rule(name=f"rule-{n}", use=use) for n, use in enumerate(uses))
    return msgspec.structs.replace(
        site.config, rules=rules, model=msgspec.structs.replace(site.config.model, size="small")
    )


def requests_of(config: Config) -> list[RehearsalRequest]:
    return list(rehearsals(config, config.data.dir / "compiled", identity_of(config), sizes={}))


@pytest.fixture
def logged() -> Iterator[list[str]]:
    """Collect the segmenter's log messages, whatever an earlier test did to logging."""
    lines: list[str] = []

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(record.getMessage())

    log, listener = logging.getLogger("node.segmenter"), Listener()
    level = log.level
    log.addHandler(listener)
    log.setLevel(logging.INFO)
    yield lines
    log.removeHandler(listener)
    log.setLevel(level)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return make_site(tmp_path)


@pytest.fixture
def warm(site: Site) -> Iterator[WarmChild]:
    child = WarmChild(site.config.limits)
    yield child
    child.close()


def rehearsed_until(warm: WarmChild, config: Config, logged: list[str], words: str) -> bool:
    """Rehearse as the loop does, until `words` are in the log; return False after `WITHIN_S`."""
    until = time.monotonic() + WITHIN_S
    while time.monotonic() < until:
        warm.ready()
        warm.rehearse(lambda: requests_of(config))
        if words in "\n".join(logged):
            return True
        time.sleep(0.05)
    return False


def test_each_network_of_the_rules_is_rehearsed_once(site: Site) -> None:
    requests = requests_of(with_rules(site, "tiny-mr", "none", "tiny-mr/1.0"))
    assert [(request.size, request.digest) for request in requests] == [
        ("small", site.package.digest)
    ]
    assert requests_of(site.config) == []


def test_a_rehearsal_leaves_no_files(site: Site) -> None:
    config = with_rules(site, "tiny-mr")
    (request,) = requests_of(config)
    before = sorted(config.data.dir.rglob("*"))
    assert rehearse(request, 1).problem == ""
    assert sorted(config.data.dir.rglob("*")) == before
    failed = rehearse(msgspec.structs.replace(request, digest="1" * 64), 1)
    assert "plan" in failed.problem
    assert not (config.data.dir / FOLDER).exists()


@pytest.mark.parametrize("steps", [0, 1, 4])
def test_a_rehearsal_ends_at_its_next_step_when_a_series_arrives(site: Site, steps: int) -> None:
    config = with_rules(site, "tiny-mr")
    (request,) = requests_of(config)
    before = sorted(config.data.dir.rglob("*"))
    left = iter([True] * steps)
    asked: list[bool] = []

    def may_continue() -> bool:
        asked.append(next(left, False))
        return asked[-1]

    answer = rehearse(request, 1, may_continue)
    assert (answer.is_interrupted, answer.problem) == (True, "")
    assert len(asked) == steps + 1, "nothing was done after the step"
    assert sorted(config.data.dir.rglob("*")) == before


def test_a_child_rehearses_once_and_then_segments(
    site: Site, warm: WarmChild, logged: list[str]
) -> None:
    config = with_rules(site, "tiny-mr")
    assert rehearsed_until(warm, config, logged, "rehearsed in")
    pid = warm.pid
    _, job_id = site.add_series()
    job = queue.get(site.engine, job_id)
    done = warm.segment(request_of(config, job, job.segment_payload()), lambda _: None)
    assert isinstance(done, Done)
    assert len(done.objects) == 1
    warm.rehearse(lambda: pytest.fail("a second rehearsal"))
    assert warm.pid == pid


def test_a_series_that_arrives_during_a_rehearsal_is_segmented_by_the_same_child(
    tmp_path: Path, logged: list[str]
) -> None:
    site = make_site(tmp_path, **SLOW)
    config = with_rules(site, "tiny-mr")
    warm = WarmChild(config.limits)
    try:
        warm.ready()
        warm.rehearse(lambda: requests_of(config))
        _, job_id = site.add_series()
        job = queue.get(site.engine, job_id)
        done = warm.segment(request_of(config, job, job.segment_payload()), lambda _: None)
        assert isinstance(done, Done)
        assert len(done.objects) == 1
        words = "\n".join(logged)  # logged while the result was awaited
        assert "interrupted by a series" in words or "rehearsed in" in words
    finally:
        warm.close()


def test_the_successor_of_a_killed_child_does_not_rehearse(
    site: Site, warm: WarmChild, logged: list[str]
) -> None:
    warm.ready()
    config = with_rules(site, "tiny-mr")
    warm.rehearse(lambda: requests_of(config))
    psutil.Process(warm.pid).kill()
    psutil.wait_procs([psutil.Process(warm.pid)], 60)
    warm.rehearse(lambda: pytest.fail("a second rehearsal"))
    warm.ready()
    warm.rehearse(lambda: pytest.fail("a second rehearsal"))


def test_the_loop_rehearses_and_only_logs_an_altered_package(site: Site, logged: list[str]) -> None:
    config = with_rules(site, "tiny-mr")
    for words, spoil in (("rehearsed in", False), ("no rehearsal", True)):
        if spoil:
            (site.package.folder / "card.md").write_text("another", encoding="utf-8")
        stop = threading.Event()
        thread = threading.Thread(target=segmenter.run, args=(config, stop))
        thread.start()
        until = time.monotonic() + WITHIN_S
        while words not in "\n".join(logged) and time.monotonic() < until:
            time.sleep(0.05)
        stop.set()
        thread.join()
        assert words in "\n".join(logged)
