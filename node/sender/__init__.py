"""Deliver finished objects to their targets.

Guarantees: an object is delivered if the target answered with success, and if a query found the
object, where the target answers queries; a retry sends the same object; an unreachable target
delays no other. `node.queue.settle` decides how an error ends the job.
"""

from node.sender.batch import send_files, send_series
from node.sender.echo import Echo, echo, send_echo
from node.sender.loop import run
from node.sender.peer import peer_of
from node.sender.statuses import StoreStatus
from node.sender.store import is_intact
from node.sender.trial import Trial, send_trial

__all__ = [
    "Echo",
    "StoreStatus",
    "Trial",
    "echo",
    "is_intact",
    "peer_of",
    "run",
    "send_echo",
    "send_files",
    "send_series",
    "send_trial",
]
