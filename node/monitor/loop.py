"""Run page, alerts, audit messages and heartbeat, each in its own thread, until the end."""

import datetime
import logging
import os
import threading
import time
from pathlib import Path

import msgspec

from node import durable, queue
from node.audit import Auditor
from node.conditions import LiveView
from node.config import Config, RunningConfig
from node.errors import NodeError
from node.fault_log import FaultLog
from node.monitor.alerts import Alert, Reported, Watch, restored
from node.monitor.webhook import post
from node.web import serve_page

PROCESS = "monitor"
BEAT_S = 10.0
POLL_S = 15.0
FOLLOW_S = 1.0
REPORTED = "alerts.json"  # in the data folder
log = logging.getLogger("node.monitor")


def run(
    config: Config, stop: threading.Event | None = None, running: RunningConfig | None = None
) -> None:
    """Watch the node until `stop` is set.

    When `running` follows a new configuration, all threads end and start again with it.
    """
    stop = stop or threading.Event()
    running = running or RunningConfig(config)
    while not stop.is_set():
        ended = threading.Event()
        threads = _started(running.config, ended)
        while not stop.wait(FOLLOW_S) and not running.follow():
            pass
        ended.set()
        for thread in threads:
            thread.join()


def _started(config: Config, stop: threading.Event) -> list[threading.Thread]:
    """Start the threads that work until `stop` is set."""
    live = LiveView(config)
    threads = [threading.Thread(target=_beat, args=(live, stop), name="beat", daemon=True)]
    if config.alerts.webhook:
        alerts = Alerts(config, live)
        threads.append(
            threading.Thread(target=alerts.run, args=(stop,), name="alerts", daemon=True)
        )
    if config.audit.syslog.host:
        auditor = Auditor(config, live.engine)
        threads.append(
            threading.Thread(target=auditor.run, args=(stop,), name="audit", daemon=True)
        )
    if config.page.enabled:
        threads.append(
            threading.Thread(target=serve_page, args=(config, live, stop), name="page", daemon=True)
        )
    for thread in threads:
        thread.start()
    return threads


def _beat(live: LiveView, stop: threading.Event) -> None:
    faults = FaultLog(log, PROCESS)
    pause_s = 0.0
    while not stop.wait(pause_s):
        try:
            queue.heartbeat(live.engine(), PROCESS, os.getpid(), time.time())
        except (NodeError, OSError) as exc:  # of the database or its disk
            pause_s = faults.failed(exc)
        else:
            faults.worked()
            pause_s = BEAT_S


class Alerts:
    """Sends the changes of the conditions to the webhook, one after another."""

    def __init__(self, config: Config, live: LiveView) -> None:
        """Continue from the file of the last run."""
        self._config, self._live = config, live
        self._file: Path = config.data.dir / REPORTED
        known = restored(self._file.read_bytes()) if self._file.exists() else Reported()
        self._watch = Watch(config.node.ae_title, config.alerts.digest_at, known)
        self._faults = FaultLog(log, "alerts")

    def run(self, stop: threading.Event) -> None:
        """Compare conditions every few seconds until `stop` is set; after a failure wait longer."""
        pause_s = 0.0
        while not stop.wait(pause_s):
            try:
                self.step(time.time())
            except (NodeError, OSError) as exc:
                pause_s = max(POLL_S, self._faults.failed(exc))
            else:
                self._faults.worked()
                pause_s = POLL_S

    def step(self, now: float) -> None:
        """Send what is due at `now`.

        Raises:
            AlertNotSent: what was not sent stays due.
            OSError: the file cannot be written; the alert is sent again after a restart.
        """
        local = datetime.datetime.fromtimestamp(now).astimezone()
        for alert in self._watch.due(self._live.at(now), local):
            self._send(alert, local)

    def _send(self, alert: Alert, local: datetime.datetime) -> None:
        post(self._config.alerts.webhook, alert)
        self._watch.sent(alert, local)
        durable.write(self._file, msgspec.json.encode(self._watch.reported))
