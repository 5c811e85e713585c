"""Alerts: which changes are reported, and how a webhook receives them."""

import datetime
import logging
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from node import queue, schema
from node.conditions import Condition, ConditionCode, LiveView, View
from node.config import AlertsConfig, Config, DataConfig, PageConfig
from node.monitor.alerts import SETTLE_S, Alert, Change, Reported, Watch, restored
from node.monitor.loop import REPORTED, Alerts
from node.monitor.webhook import AlertNotSent, post
from tests.support.rows import T0
from tests.support.webhooks import Webhook, webhook

MORNING = datetime.datetime(2026, 11, 30, 7, 30, tzinfo=datetime.UTC)
ALERT = Alert(node="SEGNODE", change=Change.RAISED, at="2026-11-30T07:30:00Z", conditions=())


@pytest.fixture
def hook() -> Iterator[Webhook]:
    with webhook() as running:
        yield running


def silent(subject: str = "pacs", text: str = "It does not answer.") -> Condition:
    return Condition(
        code=ConditionCode.TARGET_SILENT, subject=subject, since=T0, text=text, advice="Look."
    )


def view(at: float, *active: Condition) -> View:
    return View(at=at, snapshot=None, conditions=active)


def kinds(alerts: list[Alert]) -> list[str]:
    return [f"{alert.change.value} {alert.conditions[0].subject}" for alert in alerts]


def test_a_condition_is_reported_when_it_stays_and_when_it_ends() -> None:
    watch = Watch("SEGNODE", "", Reported())
    assert watch.due(view(T0, silent()), MORNING) == []
    (raised,) = watch.due(view(T0 + SETTLE_S, silent(text="Another text.")), MORNING)
    assert (raised.change, raised.conditions[0].text) == (Change.RAISED, "Another text.")
    assert raised.conditions[0].since == "2023-11-14T22:13:20Z"
    assert kinds(watch.due(view(T0 + 99, silent()), MORNING)) == ["raised pacs"], "until it is sent"
    watch.sent(raised, MORNING)
    assert watch.due(view(T0 + 500, silent()), MORNING) == []
    assert watch.due(view(T0 + 600), MORNING) == []
    assert kinds(watch.due(view(T0 + 600 + SETTLE_S), MORNING)) == ["cleared pacs"]


def test_a_condition_that_comes_and_goes_is_not_reported() -> None:
    watch = Watch("SEGNODE", "", Reported())
    for at in range(0, 1000, 30):
        active = [silent()] if at % 60 else []
        assert watch.due(view(T0 + at, *active), MORNING) == []


def test_what_was_reported_survives_a_restart() -> None:
    before = Watch("SEGNODE", "", Reported())
    before.due(view(T0, silent("a"), silent("b")), MORNING)
    for alert in before.due(view(T0 + SETTLE_S, silent("a"), silent("b")), MORNING):
        before.sent(alert, MORNING)
    after = Watch("SEGNODE", "", restored(msgspec.json.encode(before.reported)))
    assert after.due(view(T0 + 1000, silent("a")), MORNING) == []
    assert kinds(after.due(view(T0 + 1000 + SETTLE_S, silent("a")), MORNING)) == ["cleared b"]
    assert restored(b"{") == Reported()


def test_a_digest_comes_once_a_day_after_its_time() -> None:
    watch = Watch("SEGNODE", "07:00", Reported())
    assert watch.due(view(T0), MORNING.replace(hour=6)) == []
    (digest,) = watch.due(view(T0, silent()), MORNING)
    assert (digest.change, len(digest.conditions)) == (Change.DIGEST, 1)
    watch.sent(digest, MORNING)
    assert watch.due(view(T0 + 5, silent()), MORNING.replace(hour=9)) == []
    tomorrow = MORNING + datetime.timedelta(days=1)
    assert [one.change for one in watch.due(view(T0 + 9), tomorrow)] == [Change.DIGEST]


def test_a_webhook_receives_json(hook: Webhook) -> None:
    post(hook.url, ALERT)
    assert hook.received == [
        {"node": "SEGNODE", "change": "raised", "at": "2026-11-30T07:30:00Z", "conditions": []}
    ]


@pytest.mark.parametrize("status", [302, 307, 400, 404, 500])
def test_a_status_other_than_2xx_is_an_error(hook: Webhook, status: int) -> None:
    hook.status, hook.location = status, "http://127.0.0.1:9/"
    with pytest.raises(AlertNotSent, match=str(status)) as caught:
        post(hook.url, ALERT)
    assert "secret" not in str(caught.value)
    assert caught.value.advice


def test_a_webhook_that_is_silent_or_absent_is_an_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        port = mute.getsockname()[1]
        with pytest.raises(AlertNotSent, match="does not answer"):
            post(f"http://127.0.0.1:{port}/secret", ALERT, timeout_s=0.2)
    with pytest.raises(AlertNotSent, match="Connection refused"):
        post(f"http://127.0.0.1:{port}/secret", ALERT)


def test_alerts_of_a_node_reach_the_webhook_and_are_remembered(
    tmp_path: Path, hook: Webhook, caplog: pytest.LogCaptureFixture
) -> None:
    data = DataConfig(dir=tmp_path)
    config = Config(
        data=data, alerts=AlertsConfig(webhook=hook.url), page=PageConfig(enabled=False)
    )
    engine = schema.open_configured(data)
    for loop in ("segmenter", "sender", "housekeeping", "monitor"):
        queue.heartbeat(engine, loop, 1, time.time() + 300)
    now = time.time() + 301
    alerts = Alerts(config, LiveView(config))
    hook.status = 500
    alerts.step(now)
    with pytest.raises(AlertNotSent):
        alerts.step(now + SETTLE_S)
    assert not (tmp_path / REPORTED).exists()
    hook.status = 204
    with caplog.at_level(logging.WARNING):
        Alerts(config, LiveView(config)).step(now)
        alerts.step(now + SETTLE_S)
        alerts.step(now + SETTLE_S + 1)
    received = [(one["change"], one["conditions"][0]["subject"]) for one in hook.received]
    assert ("raised", "listener") in received
    assert len(received) == len(set(received)), "each once"
    assert restored((tmp_path / REPORTED).read_bytes()).conditions.keys() >= {"loop-down listener"}
