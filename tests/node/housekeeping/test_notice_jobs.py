"""An unsuitable series gets a job for a notice if a target of its rule requests one."""

from pathlib import Path

import msgspec
import pytest

from node import ahead, queue
from node.config import Config, Target
from node.errors import Unsuitable
from node.states import Ending, Kind
from tests.support.housekeeping import SETTLED, Site
from tests.support.phantoms import Phantom, make
from tests.support.received import receive
from tests.support.rows import T0


def with_targets(site: Site, **targets: Target) -> Config:
    send_to = tuple(targets)
    rules = tuple(msgspec.structs.replace(rule, send_to=send_to) for rule in site.config.rules)
    return msgspec.structs.replace(site.config, targets=targets, rules=rules)


@pytest.fixture
def unsuitable(site: Site, tmp_path: Path) -> Site:
    scan = make(tmp_path / "gap", Phantom(drop=(5,)))
    receive(site.inbox, scan.paths, T0)
    return site


LATE = T0 + 100.0  # a series with a gap waits for the quiet time
PLAIN, TOLD = Target(ae="A", host="h"), Target(ae="B", host="h", notice=True)


def end(site: Site, now: float) -> None:
    """Act as a segmenter that meets the planned reason, with no notice to send."""
    job = queue.claim(site.engine, Kind.SEGMENT, "w", now, 30.0)
    assert job is not None
    reason = job.segment_payload().unsuitable
    assert reason is not None
    queue.end_unsuitable(site.engine, job, Unsuitable(reason.message), [], now)


def test_a_notice_needs_a_job(unsuitable: Site) -> None:
    sweep = unsuitable.fresh(with_targets(unsuitable, a=PLAIN, b=TOLD))
    sweep.run(SETTLED)
    assert ahead.offers(unsuitable.config.data.dir) == [], "nothing to work ahead of"
    assert sweep.run(LATE) == 1
    (history,) = queue.histories(unsuitable.engine)
    assert history.segment is not None
    payload = history.segment.segment_payload()
    assert payload.unsuitable is not None
    assert payload.unsuitable.code == "missing-slice"
    assert {one.name: one.notice for one in payload.targets} == {"a": False, "b": True}
    end(unsuitable, LATE + 1)
    assert unsuitable.ends()[0][0] is Ending.UNSUITABLE


def test_without_a_request_there_is_no_job(unsuitable: Site) -> None:
    sweep = unsuitable.fresh(with_targets(unsuitable, a=PLAIN))
    assert sweep.run(LATE) == 1
    assert unsuitable.ends() == [(Ending.UNSUITABLE, "missing-slice")]
    assert not queue.list_jobs(unsuitable.engine)


def test_a_paused_rule_sends_no_notice(unsuitable: Site) -> None:
    queue.pause_rule(unsuitable.engine, "heads", "", T0, "os:anna")
    assert unsuitable.fresh(with_targets(unsuitable, b=TOLD)).run(LATE) == 0
    assert not queue.list_jobs(unsuitable.engine)


def test_replan_makes_another_job_only_if_the_rules_changed(unsuitable: Site) -> None:
    config = with_targets(unsuitable, b=TOLD)
    assert unsuitable.fresh(config).run(LATE) == 1
    end(unsuitable, LATE + 1)
    (folder,) = unsuitable.inbox.series_folders()
    unsuitable.fresh(config).replan(folder, LATE + 2)
    assert len(queue.list_jobs(unsuitable.engine)) == 1
    unsuitable.fresh(with_targets(unsuitable, b=TOLD, c=TOLD)).replan(folder, LATE + 3)
    assert len(queue.list_jobs(unsuitable.engine)) == 2
