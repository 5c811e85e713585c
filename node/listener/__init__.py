"""Receive instances over DICOM associations and store them in the inbox; needs a disk only.

Guarantees: C-STORE is answered with success (0x0000) only for an instance that is complete, matches
its command, and is on disk. `node.inbox` stores it; `node.arrival` decides when a series is
complete.
"""

from node.listener.loop import run
from node.listener.statuses import StoreStatus

__all__ = ["StoreStatus", "run"]
