"""The periodic work: what arrived, which leases ran out, what may be deleted, who is alive."""

from node.tending.choice import Use
from node.tending.loop import run
from node.tending.sweep import Sweep, Waiting

__all__ = ["Sweep", "Use", "Waiting", "run"]
