"""Record received commitment reports in the database, and send those that callers are owed."""

import logging
import threading
import time

import msgspec
from pynetdicom import build_role
from sqlalchemy import Engine

from node import queue
from node.commitment import (
    CallerRequest,
    CallerRequests,
    CommitmentStatus,
    ReceivedReports,
    Report,
    reason_name,
    report_dataset,
    status_name,
)
from node.config import Caller, RunningConfig, Target
from node.dicom.uids import COMMITMENT_CLASS, COMMITMENT_INSTANCE
from node.errors import NodeError, RefusedByTarget
from node.fault_log import PeriodicThread
from node.inbox import Inbox, report_on
from node.sender.peer import PLAIN, Patience, Peer, association, gone
from node.tls import Credentials, TargetTls

FIRST_PAUSE_S, LONGEST_PAUSE_S = 10.0, 900.0
PATIENCE = Patience(answer_s=30.0)
MOST_ATTEMPTS = 100  # with these pauses a day
UNREPORTED = "unreported-commitment"
log = logging.getLogger("node.sender")


def record_reports(engine: Engine, reports: ReceivedReports, now: float) -> None:
    """Record each received report with the delivery that awaits it, and drop its file."""
    for report in reports.take():
        words = ", ".join(f"not committed: {reason_name(reason)}" for _, reason in report.failed)
        job = queue.record_report(
            engine, report.transaction, report, words or "the target commits to the object", now
        )
        if job is None:  # too late, or sent again meanwhile
            log.info("a storage commitment report that no delivery awaits was ignored")
        else:
            log.info("storage commitment report", extra={"job": job.id, "target": job.target})
        reports.drop(report)


class CallerReports:
    """Sends the reports that callers are owed, each on a new association."""

    def __init__(
        self, running: RunningConfig, engine: Engine, credentials: Credentials | None = None
    ) -> None:
        """Use the folders of the configuration; notes are written to the database."""
        self._running, self._engine, self._credentials = running, engine, credentials
        data = running.config.data.dir
        self._requests = CallerRequests(data)
        self._inbox = Inbox(data / "inbox")

    def run_due(self, now: float) -> None:
        """Send what is due at `now`, in unix seconds; a time in the future was a wrong clock."""
        for pending in self._requests.due():
            if pending.not_before <= now or pending.not_before > now + LONGEST_PAUSE_S:
                self._report(pending, now)

    def _report(self, pending: CallerRequest, now: float) -> None:
        where = {"ae": pending.calling_ae, "host": pending.host}
        caller = self._caller(pending)
        if caller is None or caller.port is None:
            self._give_up(pending, "no port of that caller is configured", now)
            return
        report = report_on(pending.request, self._inbox)
        try:
            self._send(pending, caller, report)
        except NodeError as exc:
            if pending.attempts + 1 >= MOST_ATTEMPTS:
                self._give_up(pending, exc.message, now)
                return
            pause_s = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(pending.attempts, 30))
            later = {"attempts": pending.attempts + 1, "not_before": now + pause_s}
            self._requests.put_off(msgspec.structs.replace(pending, **later))
            log.warning(
                "a storage commitment report was not delivered: %s",
                exc,
                extra=where | {"code": exc.code, "attempt": later["attempts"], "seconds": pause_s},
            )
        else:
            self._requests.drop(pending)
            log.info("storage commitment reported", extra=where | {"count": len(report.committed)})

    def _caller(self, pending: CallerRequest) -> Caller | None:
        """Return the caller as it is configured now."""
        configured = self._running.config.callers
        callers = () if configured == "any" else configured
        matching = (one for one in callers if one.ae == pending.calling_ae and one.commitment)
        return next(matching, None)

    def _peer(self, pending: CallerRequest, caller: Caller) -> Peer:
        """Return the caller as the peer of a report; one with a certificate is reached with TLS."""
        has_tls = bool(caller.certificate)
        target = Target(
            ae=caller.ae,
            host=pending.host,
            port=caller.port or 0,
            tls=has_tls,
            certificate=caller.certificate,
        )
        secured = None
        if has_tls and self._credentials is not None:
            secured = TargetTls(self._credentials, target)
        return Peer("", target, self._running.config.node.ae_title, PATIENCE, tls=secured)

    def _send(self, pending: CallerRequest, caller: Caller, report: Report) -> None:
        peer = self._peer(pending, caller)
        role = build_role(COMMITMENT_CLASS, scu_role=False, scp_role=True)
        with association(peer, [(COMMITMENT_CLASS, PLAIN)], roles=[role]) as opened:
            try:
                answer, _ = opened.send_n_event_report(
                    report_dataset(report), report.event, COMMITMENT_CLASS, COMMITMENT_INSTANCE
                )
            except (RuntimeError, ValueError) as exc:
                raise gone(peer, opened, "N-EVENT-REPORT") from exc
            if "Status" not in answer:
                raise gone(peer, opened, "N-EVENT-REPORT")
            if answer.Status != CommitmentStatus.SUCCESS:
                message = f"{peer.place} answered with {status_name(int(answer.Status))}"
                raise RefusedByTarget(message, advice="See the log of that caller.")

    def _give_up(self, pending: CallerRequest, why: str, now: float) -> None:
        message = f"the storage commitment report to {pending.calling_ae} was given up: {why}"
        advice = "Set commitment and port of that caller; it may request the commitment again."
        queue.add_note(self._engine, UNREPORTED, f"{message}. {advice}", now)
        self._requests.drop(pending)
        log.error(message, extra={"ae": pending.calling_ae, "host": pending.host, "advice": advice})


def commitment_threads(
    running: RunningConfig,
    engine: Engine,
    credentials: Credentials | None,
    ended: threading.Event,
) -> list[PeriodicThread]:
    """Return the threads that record received reports, and send those of callers."""
    reports = ReceivedReports(running.config.data.dir)
    owed = CallerReports(running, engine, credentials)
    return [
        PeriodicThread(
            "reports", 0.5, lambda: record_reports(engine, reports, time.time()), ended, log
        ),
        PeriodicThread("caller-reports", 1.0, lambda: owed.run_due(time.time()), ended, log),
    ]
