"""Serve storage commitment (PS3.4 Annex J), as provider for callers and as user for our results.

Guarantees: a request that was answered with success is kept as a file until its report was
answered. The report goes over the association of the request once that is quiet; after its end the
sender process reports on a new one. Reports about our results are kept as files, for the sender.
"""

import logging
import time
from collections import deque
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

from pydicom.uid import UID
from pynetdicom.dimse_primitives import N_ACTION, N_EVENT_REPORT
from pynetdicom.dsutils import encode

from node.commitment import (
    LARGEST_MESSAGE_BYTES,
    REQUEST_ACTION,
    CallerRequest,
    CallerRequests,
    CommitmentStatus,
    ReceivedReports,
    TooManyReferences,
    read_request,
    report_dataset,
    status_name,
)
from node.config import RunningConfig
from node.dicom.elements import MalformedDataSet
from node.dicom.uids import COMMITMENT_CLASS, COMMITMENT_INSTANCE
from node.errors import DiskLow
from node.inbox import Inbox, report_on
from node.listener.callers import caller_of, plain_host
from node.listener.reports import Reports
from node.listener.spool import Spool

QUIET_S = 1.0  # a caller that releases the association at once gets its report on a new one

log = logging.getLogger("node.listener")


@dataclass(slots=True)
class Pending:
    """The requests of one association that wait for their report.

    `waiting` holds a monotonic time, the presentation context and the request.
    """

    waiting: deque[tuple[float, Any, CallerRequest]] = field(default_factory=deque)
    sent: dict[int, CallerRequest] = field(default_factory=dict)  # by message ID


@dataclass(frozen=True, slots=True)
class Commitments:
    """What the handlers need; one for the process."""

    running: RunningConfig
    inbox: Inbox
    requests: CallerRequests
    reports: ReceivedReports
    problems: Reports

    def are_served(self, association: Any) -> bool:
        """Return whether the service is offered to this caller, before contexts are negotiated.

        Some targets report without selecting the role that the standard requires.
        """
        if self._may_request(association):
            return True
        targets = self.running.config.targets.values()
        ours = [one.ae for one in targets if one.confirm == "commitment"]
        role = association.requestor.role_selection.get(COMMITMENT_CLASS)
        is_provider = role is not None and role.scp_role
        return bool(ours) and (is_provider or association.calling_ae in ours)

    def serve(self, association: Any, message: Any, context: Any) -> None:
        """Answer an N-ACTION or N-EVENT-REPORT, or take the answer to a report of ours."""
        if message.MessageIDBeingRespondedTo is not None:
            self._take_answer(association, message)
            return
        is_request = isinstance(message, N_ACTION)
        spool: Spool = message.ActionInformation if is_request else message.EventInformation
        try:
            answer_to = self._request if is_request else self._receive
            status = answer_to(association, message, spool, context)
        except MalformedDataSet:
            status = CommitmentStatus.INVALID_ARGUMENT
        except (DiskLow, OSError, TooManyReferences):
            status = CommitmentStatus.RESOURCE_LIMITATION
        except Exception:
            log.exception("internal error in a storage commitment")
            status = CommitmentStatus.PROCESSING_FAILURE
        finally:
            spool.close()
        if status != CommitmentStatus.SUCCESS:
            kind = "request" if is_request else "report"
            text = f"a storage commitment {kind} was answered with {status_name(status)}"
            host = plain_host(association.host)
            self.problems.add("rejected-commitment", text, association.calling_ae, host)
        association.dimse.send_msg(_answer(message, status), context.context_id)

    def report_quiet(self, association: Any) -> None:
        """Send the reports that are due, on the thread of an association without other work."""
        waiting = association.pending.waiting
        while waiting and waiting[0][0] <= time.monotonic() and association.is_established:
            _, context, caller_request = waiting.popleft()
            self._report(association, context, caller_request)

    def end(self, association: Any) -> None:
        """Leave what was not reported to the sender process."""
        pending = association.pending
        for caller_request in [
            *(caller_request for *_, caller_request in pending.waiting),
            *pending.sent.values(),
        ]:
            self.requests.make_due(caller_request)

    def _may_request(self, association: Any) -> bool:
        host = plain_host(association.host)
        config = self.running.config
        caller = caller_of(config, association.calling_ae, host, association.certificate)
        return caller is not None and caller.commitment

    def _receive(
        self, association: Any, message: Any, spool: Spool, context: Any
    ) -> CommitmentStatus:
        """Keep a report about results of ours."""
        del association  # the transaction UID in the report is secret enough
        if message.AffectedSOPInstanceUID != COMMITMENT_INSTANCE:
            return CommitmentStatus.NO_SUCH_INSTANCE
        if spool.received_bytes > LARGEST_MESSAGE_BYTES:
            return CommitmentStatus.RESOURCE_LIMITATION
        with spool.view() as view:
            return self.reports.receive(message.EventTypeID, view, str(context.transfer_syntax[0]))

    def _request(
        self, association: Any, message: Any, spool: Spool, context: Any
    ) -> CommitmentStatus:
        """Keep the request of a caller."""
        if not self._may_request(association):
            return CommitmentStatus.NOT_AUTHORISED
        if message.RequestedSOPInstanceUID != COMMITMENT_INSTANCE:
            return CommitmentStatus.NO_SUCH_INSTANCE
        if message.ActionTypeID != REQUEST_ACTION:
            return CommitmentStatus.NO_SUCH_ACTION
        if spool.received_bytes > LARGEST_MESSAGE_BYTES:
            return CommitmentStatus.RESOURCE_LIMITATION
        with spool.view() as view:
            request = read_request(view, str(context.transfer_syntax[0]))
        self.inbox.check_space(2 * spool.received_bytes)
        caller_request = CallerRequest(
            request=request,
            calling_ae=association.calling_ae,
            host=plain_host(association.host),
            received=time.time(),
        )
        if not self.requests.add(caller_request):
            return CommitmentStatus.RESOURCE_LIMITATION
        association.pending.waiting.append((time.monotonic() + QUIET_S, context, caller_request))
        facts = {
            "ae": caller_request.calling_ae,
            "host": caller_request.host,
            "count": len(request.references),
        }
        log.info("storage commitment requested", extra=facts)
        return CommitmentStatus.SUCCESS

    def _report(self, association: Any, context: Any, caller_request: CallerRequest) -> None:
        report = report_on(caller_request.request, self.inbox)
        syntax = UID(context.transfer_syntax[0])
        information = encode(report_dataset(report), syntax.is_implicit_VR, syntax.is_little_endian)
        message = N_EVENT_REPORT()
        message.MessageID = association.next_message_id()
        message.AffectedSOPClassUID = COMMITMENT_CLASS
        message.AffectedSOPInstanceUID = COMMITMENT_INSTANCE
        message.EventTypeID = report.event
        message.EventInformation = BytesIO(information or b"")
        association.pending.sent[message.MessageID] = caller_request
        association.dimse.send_msg(message, context.context_id)

    def _take_answer(self, association: Any, message: Any) -> None:
        caller_request = association.pending.sent.get(message.MessageIDBeingRespondedTo)
        if caller_request is not None and message.Status == CommitmentStatus.SUCCESS:
            del association.pending.sent[message.MessageIDBeingRespondedTo]
            self.requests.drop(caller_request)
            facts = {"ae": caller_request.calling_ae, "host": caller_request.host}
            log.info("storage commitment reported", extra=facts)


def _answer(message: Any, status: CommitmentStatus) -> Any:
    """Return the response to an N-ACTION or N-EVENT-REPORT."""
    answer = type(message)()
    is_request = isinstance(message, N_ACTION)
    answer.MessageIDBeingRespondedTo = message.MessageID
    answer.AffectedSOPClassUID = COMMITMENT_CLASS
    answer.AffectedSOPInstanceUID = (
        message.RequestedSOPInstanceUID if is_request else message.AffectedSOPInstanceUID
    )
    answer.Status = status
    return answer
