"""Periodic work: plan what arrived, expire leases, delete old files, write a heartbeat."""

from node.housekeeping.loop import run
from node.housekeeping.sweep import Sweep

__all__ = ["Sweep", "run"]
