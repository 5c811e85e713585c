"""The periodic work: what arrived, which leases ran out, what may be deleted, who is alive."""

from node.tending.choice import Content
from node.tending.loop import run
from node.tending.sweep import Sweep, Waiting

__all__ = ["Content", "Sweep", "Waiting", "run"]
