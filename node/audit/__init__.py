"""Audit messages of DICOM PS3.15 A.5 from the append-only history, sent by syslog.

Promises: every event is sent at least once while the server is reachable within the backlog; no
other loop waits for it.
Leaves to `node.queue`: the events. Leaves to `data.index`: the form of patient IDs.
"""

from node.audit.send import Auditor, announce_stop

__all__ = ["Auditor", "announce_stop"]
