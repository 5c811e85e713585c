"""Send what the history has recorded since the last message; remember the place in a file."""

import logging
import os
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
from sqlalchemy import Engine

from node import durable, queue
from node.audit.message import AuditMessage, to_xml
from node.audit.records import START, STOP, Facts, application, messages_of
from node.audit.syslog import AuditNotSent, SyslogChannel, syslog_line
from node.config import Config
from node.errors import NodeError
from node.fault_log import FaultLog
from node.queue import Event

PLACE = "audit.json"  # in the data folder
POLL_S = 5.0
BATCH = 200
MOST_BACKLOG = 100_000  # events; older ones are left out when the server comes back
STOP_TIMEOUT_S = 2.0
log = logging.getLogger("node.audit")


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """How far the history was sent."""

    event: int  # number of the last event
    run: str = ""  # of the node whose start was sent


class Auditor:
    """Sends audit messages in its own thread."""

    def __init__(self, config: Config, engine: Callable[[], Engine], run: str = "") -> None:
        """Continue from the file of the last run; `run` identifies one start of the node."""
        self._config, self._engine = config, engine
        self._file: Path = config.data.dir / PLACE
        self._run = run or _parent()
        self._channel = SyslogChannel(config.audit.syslog)
        self._faults = FaultLog(log, "audit")
        self._host = socket.gethostname()

    def run(self, stop: threading.Event) -> None:
        """Send new events every few seconds until `stop` is set; after a failure wait longer."""
        pause_s = 0.0
        while not stop.wait(pause_s):
            try:
                while self.send_new(time.time()) == BATCH and not stop.is_set():
                    pass
            except (NodeError, OSError) as exc:
                pause_s = max(POLL_S, self._faults.failed(exc))
            else:
                self._faults.worked()
                pause_s = POLL_S
        self.close()

    def close(self) -> None:
        """Close the connection to the server."""
        self._channel.close()

    def send_new(self, now: float) -> int:
        """Send the next events; return their number.

        Raises:
            AuditNotSent: the events stay due.
            OSError: the file cannot be written; the events are sent again.
        """
        place = self._place()
        if place.run != self._run:
            self._send(application(self._config, START, now))
            place = msgspec.structs.replace(place, run=self._run)
            self._keep(place)
        events = queue.events_after(self._engine(), place.event, BATCH)
        sent = place.event
        try:
            for event in events:
                for message in messages_of(event, self._facts(event), self._config):
                    self._send(message)
                sent = event.id
        finally:
            if sent != place.event:
                self._keep(msgspec.structs.replace(place, event=sent))
        return len(events)

    def _place(self) -> Place:
        """Return the last place; the history before the first start with audit is not sent."""
        newest = queue.newest_event(self._engine())
        try:
            place = msgspec.json.decode(self._file.read_bytes(), type=Place)
        except (FileNotFoundError, msgspec.MsgspecError):
            place = Place(event=newest)
            self._keep(place)
        if newest - place.event > MOST_BACKLOG:
            left_out = newest - MOST_BACKLOG - place.event
            log.error("events were left out of the audit messages", extra={"count": left_out})
            place = msgspec.structs.replace(place, event=newest - MOST_BACKLOG)
        return place

    def _keep(self, place: Place) -> None:
        durable.write(self._file, msgspec.json.encode(place))

    def _facts(self, event: Event) -> Facts:
        engine = self._engine()
        caller = ""
        if event.arrival_id is not None:
            try:
                caller = queue.get_arrival(engine, event.arrival_id).caller_ae
            except LookupError:  # its time was over
                caller = ""
        job = None
        if event.job_id is not None:
            try:
                job = queue.get(engine, event.job_id)
            except queue.NoSuchJob:
                job = None
        patient_id = queue.recorded_patient_id(engine, event.study_uid) if event.study_uid else ""
        return Facts(caller=caller, patient_id=patient_id, job=job)

    def _send(self, message: AuditMessage) -> None:
        xml = to_xml(message, self._config.node.ae_title, self._config.node.institution)
        self._channel.send(syslog_line(xml, message.at, self._host))


def announce_stop(config: Config, now: float) -> None:
    """Send the message about the end of the node, once and without waiting long."""
    if not config.audit.syslog.host:
        return
    channel = SyslogChannel(config.audit.syslog, STOP_TIMEOUT_S)
    xml = to_xml(application(config, STOP, now), config.node.ae_title, config.node.institution)
    try:
        channel.send(syslog_line(xml, now, socket.gethostname()))
    except AuditNotSent as exc:
        log.warning("%s", exc.message, extra={"code": exc.code})
    finally:
        channel.close()


def _parent() -> str:
    """Return what identifies the process that started this loop: its number and start time."""
    number = os.getppid()
    try:
        text = Path(f"/proc/{number}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return str(number)
    return f"{number}-{text.rpartition(')')[2].split()[19]}"
