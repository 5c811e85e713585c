"""Store received instances on disk, before they are interpreted.

Guarantees: a file that exists is complete, and an instance for which `Inbox.keep` has returned
survives power loss. `node.arrival` decides whether a series is complete, `node.series` whether it
can be segmented.
"""

from node.inbox.commit import report_on
from node.inbox.folder import (
    InstanceFile,
    SeriesFolder,
    SeriesRecord,
    inputs_digest,
    instances,
    read_series,
)
from node.inbox.keys import content_key, series_key, sop_key
from node.inbox.markers import AssociationRecord, Marker, closed_after, read_markers
from node.inbox.notes import Note, NoteKind
from node.inbox.store import Inbox, Incoming, StoreOutcome

__all__ = [
    "AssociationRecord",
    "Inbox",
    "Incoming",
    "InstanceFile",
    "Marker",
    "Note",
    "NoteKind",
    "SeriesFolder",
    "SeriesRecord",
    "StoreOutcome",
    "closed_after",
    "content_key",
    "inputs_digest",
    "instances",
    "read_markers",
    "read_series",
    "report_on",
    "series_key",
    "sop_key",
]
