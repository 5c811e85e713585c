"""The periodic work: what arrived, which leases ran out, what may be deleted, who is alive."""

from node.housekeeping.choice import Content
from node.housekeeping.loop import run
from node.housekeeping.sweep import Sweep, Waiting

__all__ = ["Content", "Sweep", "Waiting", "run"]
