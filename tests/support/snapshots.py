"""Snapshots of a node for tests, without a node."""

from node.queue import Facts
from node.status import Process, Snapshot, TargetState, TlsState
from tests.support.rows import T0

NO_FACTS = Facts(
    troubles=(), failed=(), held=0, held_since=None, segment_queued_since=None, callers=(),
    pauses=(),
    runs=(), clock_step_at=None, clock_step="",
)  # fmt: skip


def healthy() -> Snapshot:
    """Return the snapshot of a node that runs, with one target and nothing to do."""
    names = ("listener", "segmenter", "sender", "housekeeping", "monitor")
    return Snapshot(
        at=T0,
        ae_title="SEGNODE",
        processes=tuple(Process(name, alive=True, last_seen_s=1.0) for name in names),
        configuration=None,
        jobs={"segment": {"queued": 0}, "deliver": {"queued": 0}},
        targets=(TargetState("pacs", "PACS", "10.0.0.9:104", 0, None, ""),),
        free_gib=100.0,
        accepting=True,
        shortage="",
        engine="auto",
        models=(),
        series=(),
        notes=(),
        facts=NO_FACTS,
        package_problems=(),
        tls=TlsState(),
    )
