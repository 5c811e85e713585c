"""Finished objects to their targets, each with a typed outcome.

Promises: delivered means that the target said so, and that a query found the object where the
target answers queries; a retry is the same object; a dead target delays no other.
Leaves to `queue.settle`: what an error means for the job.
"""

from node.sender.batch import send_files
from node.sender.echo import Echo, send_echo
from node.sender.loop import run
from node.sender.statuses import StoreStatus
from node.sender.store import is_intact

__all__ = ["Echo", "StoreStatus", "is_intact", "run", "send_echo", "send_files"]
