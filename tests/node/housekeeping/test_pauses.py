"""A paused rule: its series wait in the inbox, visibly, and are planned after the pause."""

import json
from pathlib import Path

import pytest

from node import ahead, queue
from node.conditions import conditions
from node.config import Accepted, accept, load
from node.inbox import Inbox
from node.replan import replan
from node.states import Ending
from node.status import snapshot
from tests.support.commanding import Run
from tests.support.housekeeping import DAY_S, SETTLED, Site
from tests.support.phantoms import Phantom, Scan, make
from tests.support.received import receive
from tests.support.rows import T0


@pytest.fixture
def paused(site: Site, head: Scan) -> Site:
    assert queue.pause_rule(site.engine, "heads", "new scanner", T0, "os:anna")
    receive(site.inbox, head.paths, T0)
    return site


def test_a_series_of_a_paused_rule_waits_and_is_planned_after_the_pause(paused: Site) -> None:
    (waiting,) = paused.waiting(SETTLED)
    assert waiting.why == (
        "rule heads was paused by os:anna: new scanner; `segnode rules resume heads` plans the "
        "series"
    )
    assert not queue.histories(paused.engine)
    assert paused.sweep.run(SETTLED + 1.0) == 0
    paused.prune(SETTLED + 20 * DAY_S)  # longer than data.keep
    assert queue.resume_rule(paused.engine, "heads", SETTLED + 2.0, "os:ben")
    assert paused.sweep.run(SETTLED + 3.0) == 1
    assert paused.ends() == [(Ending.IN_PROGRESS, "")]
    assert not paused.waiting(SETTLED + 4.0)
    acts = [
        (event.event, event.actor, event.detail)
        for event in queue.history_between(paused.engine)
        if event.actor.startswith("os:")
    ]
    assert acts == [
        ("pause-rule", "os:anna", "heads: new scanner"),
        ("resume-rule", "os:ben", "heads"),
    ]


def test_a_series_of_a_paused_rule_is_not_offered_ahead(paused: Site) -> None:
    assert paused.sweep.run(T0 + 0.5) == 0  # while it settles
    assert ahead.offers(paused.config.data.dir) == []


def test_a_pause_withdraws_the_offer_and_the_later_job_has_its_own_time(
    site: Site, head: Scan
) -> None:
    receive(site.inbox, head.paths, T0)
    site.sweep.run(T0 + 0.5)
    assert len(ahead.offers(site.config.data.dir)) == 1
    queue.pause_rule(site.engine, "heads", "", T0 + 0.6, "os:anna")
    assert site.sweep.run(SETTLED) == 0
    assert ahead.offers(site.config.data.dir) == []
    queue.resume_rule(site.engine, "heads", SETTLED + DAY_S, "os:anna")
    assert site.sweep.run(SETTLED + DAY_S) == 1
    (history,) = queue.histories(site.engine)
    assert history.segment is not None
    assert history.segment.segment_payload().created_at == SETTLED + DAY_S


def test_a_restart_and_later_images_do_not_end_the_pause(
    paused: Site, head: Scan, tmp_path: Path
) -> None:
    assert paused.sweep.run(SETTLED) == 0
    again = paused.fresh()
    assert again.run(SETTLED + 1.0) == 0
    other = make(tmp_path / "other", Phantom(modality="CT"))
    receive(paused.inbox, other.paths, T0 + 5.0)
    assert again.run(SETTLED + 10.0) == 1  # of another rule, or of none
    assert paused.ends() == [(Ending.NO_RULE, "no-rule")]


def test_a_pause_is_a_condition_with_its_series(paused: Site) -> None:
    paused.sweep.run(SETTLED)
    current = conditions(snapshot(paused.config, paused.engine, SETTLED))
    (one,) = [condition for condition in current if condition.code == "rule-paused"]
    assert (one.subject, one.since) == ("heads", T0)
    assert one.text == "Rule heads was paused by os:anna: new scanner. 1 series waits for it."


def test_a_paused_series_that_a_person_plans_no_longer_waits(paused: Site) -> None:
    (waiting,) = paused.waiting(SETTLED)
    replan(paused.config, paused.engine, waiting.series_uid, SETTLED + 1.0)
    assert paused.ends() == [(Ending.IN_PROGRESS, "")]
    assert not paused.waiting(SETTLED + 2.0)


def test_commands_use_the_configuration_of_the_running_node(run: Run, configured: Path) -> None:
    config = load(configured)
    text = configured.read_text(encoding="utf-8")
    accept(config.data.dir, Accepted(text=text, file=str(configured), at=T0, by="os:anna"))
    configured.write_text(text.replace("name: all", "name: edited"), encoding="utf-8")

    def names() -> list[str]:
        return [rule["rule"] for rule in json.loads(run("rules", "list", *options)[1])]

    options = ("--json", "--config", configured)
    assert names() == ["edited"], "no node runs"
    inbox = Inbox(config.data.dir / "inbox")
    inbox.recover(T0)
    try:
        assert names() == ["all"]
        assert run("rules", "pause", "edited", "--config", configured)[0] == 1
    finally:
        inbox.release()


def test_the_commands_pause_list_and_resume(run: Run, configured: Path) -> None:
    status, _, err = run("rules", "pause", "none-such", "--config", configured)
    assert (status, "Rules: all." in err) == (1, True)
    assert run("rules", "pause", "all", "--because", "review", "--config", configured)[0] == 0
    assert "paused already" in run("rules", "pause", "all", "--config", configured)[1]
    shown = run("rules", "list", "--config", configured)[1]
    assert "review" in shown
    assert "by os:" in shown
    assert run("rules", "resume", "all", "--config", configured)[0] == 0
    assert run("rules", "resume", "all", "--config", configured)[0] == 1
