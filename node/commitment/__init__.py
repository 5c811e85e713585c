"""Storage commitment (PS3.4 Annex J): the messages of both sides, and the files that keep them.

Guarantees: a report or a request that was answered with success survives a kill and a power loss;
the number of files and the length of each are limited, whatever peers send. `node.listener`
receives both, `node.sender` requests commitment for results and sends the reports that are due.
"""

from node.commitment.messages import (
    LARGEST_MESSAGE_BYTES,
    MOST_REFERENCES,
    REQUEST_ACTION,
    CommitmentStatus,
    FailureReason,
    Reference,
    Report,
    Request,
    TooManyReferences,
    read_report,
    read_request,
    reason_name,
    report_dataset,
    request_dataset,
    status_name,
)
from node.commitment.received import ReceivedReports
from node.commitment.requests import MOST_PENDING, CallerRequest, CallerRequests

__all__ = [
    "LARGEST_MESSAGE_BYTES",
    "MOST_PENDING",
    "MOST_REFERENCES",
    "REQUEST_ACTION",
    "CallerRequest",
    "CallerRequests",
    "CommitmentStatus",
    "FailureReason",
    "ReceivedReports",
    "Reference",
    "Report",
    "Request",
    "TooManyReferences",
    "read_report",
    "read_request",
    "reason_name",
    "report_dataset",
    "request_dataset",
    "status_name",
]
