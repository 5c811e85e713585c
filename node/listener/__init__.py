"""The node's ear: associations in, durable instances out. It depends on a disk and on nothing else.

Promises: 0x0000 is answered only for an instance that is whole, is what it says, and is on disk.
Leaves to the inbox: where and how. Leaves to arrival: what the instances mean together.
"""

from node.listener.loop import run
from node.listener.statuses import StoreStatus

__all__ = ["StoreStatus", "run"]
