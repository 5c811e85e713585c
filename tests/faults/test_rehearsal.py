"""The child rehearses before a study comes: nothing stays of it, and nothing depends on it."""

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
from node.segmenter.loop import identity_of, request_of
from node.segmenter.messages import RehearsalRequest
from node.segmenter.rehearse import FOLDER, rehearsals, rehearse
from node.segmenter.warm import Warm
from tests.support.segmenting import Site, make_site

WITHIN_S = 60.0
SLOW = {"patch_zyx": (32, 32, 32), "ballast": 1500}


def with_rules(site: Site, *uses: str) -> Config:
    rules = tuple(Rule(name=f"rule-{n}", use=use) for n, use in enumerate(uses))
    return msgspec.structs.replace(
        site.config, rules=rules, model=msgspec.structs.replace(site.config.model, size="small")
    )


def pieces(config: Config) -> list[RehearsalRequest]:
    return list(rehearsals(config, config.data.dir / "compiled", identity_of(config)))


@pytest.fixture
def told() -> Iterator[list[str]]:
    """What the segmenter logs, however an earlier test has set up logging."""
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
def warm(site: Site) -> Iterator[Warm]:
    made = Warm(site.config.limits)
    yield made
    made.close()


def heard(warm: Warm, config: Config, told: list[str], words: str) -> bool:
    """Rehearse as the loop does, until `words` are in the log."""
    until = time.monotonic() + WITHIN_S
    while time.monotonic() < until:
        warm.ready()
        warm.rehearse(lambda: pieces(config))
        if words in "\n".join(told):
            return True
        time.sleep(0.05)
    return False


def test_each_network_of_the_rules_is_rehearsed_once(site: Site) -> None:
    found = pieces(with_rules(site, "tiny-mr", "none", "tiny-mr/1.0"))
    assert [(piece.size, piece.digest) for piece in found] == [("small", site.package.digest)]
    assert pieces(site.config) == []


def test_nothing_stays_of_it(site: Site) -> None:
    config = with_rules(site, "tiny-mr")
    (piece,) = pieces(config)
    before = sorted(config.data.dir.rglob("*"))
    assert rehearse(piece, 1).problem == ""
    assert sorted(config.data.dir.rglob("*")) == before
    failed = rehearse(msgspec.structs.replace(piece, digest="1" * 64), 1)
    assert "is not the one" in failed.problem
    assert not (config.data.dir / FOLDER).exists()


def test_a_child_rehearses_once_and_then_does_studies(
    site: Site, warm: Warm, told: list[str]
) -> None:
    config = with_rules(site, "tiny-mr")
    assert heard(warm, config, told, "rehearsed in")
    pid = warm.pid
    _, job_id = site.add_series()
    job = queue.get(site.engine, job_id)
    done = warm.work(request_of(config, job, job.segment_payload()), lambda _: None)
    assert len(done.objects) == 1
    warm.rehearse(lambda: pytest.fail("a second rehearsal"))
    assert warm.pid == pid


def test_a_study_that_comes_in_the_middle_is_done_by_the_same_child(
    tmp_path: Path, told: list[str]
) -> None:
    site = make_site(tmp_path, **SLOW)
    config = with_rules(site, "tiny-mr")
    warm = Warm(config.limits)
    try:
        warm.ready()
        warm.rehearse(lambda: pieces(config))
        _, job_id = site.add_series()
        job = queue.get(site.engine, job_id)
        done = warm.work(request_of(config, job, job.segment_payload()), lambda _: None)
        assert len(done.objects) == 1
        assert "rehearsed in" in "\n".join(told), "heard while the study was awaited"
    finally:
        warm.close()


def test_what_kills_a_rehearsing_child_is_not_tried_again(
    site: Site, warm: Warm, told: list[str]
) -> None:
    warm.ready()
    config = with_rules(site, "tiny-mr")
    warm.rehearse(lambda: pieces(config))
    psutil.Process(warm.pid).kill()
    psutil.wait_procs([psutil.Process(warm.pid)], 5)
    warm.rehearse(lambda: pytest.fail("again"))
    warm.ready()
    warm.rehearse(lambda: pytest.fail("again"))


def test_the_loop_rehearses_and_an_altered_package_is_only_told(
    site: Site, told: list[str]
) -> None:
    config = with_rules(site, "tiny-mr")
    for words, spoil in (("rehearsed in", False), ("nothing is rehearsed", True)):
        if spoil:
            (site.package.folder / "card.md").write_text("another", encoding="utf-8")
        stop = threading.Event()
        thread = threading.Thread(target=segmenter.run, args=(config, stop))
        thread.start()
        until = time.monotonic() + WITHIN_S
        while words not in "\n".join(told) and time.monotonic() < until:
            time.sleep(0.05)
        stop.set()
        thread.join()
        assert words in "\n".join(told)
