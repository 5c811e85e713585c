"""Metrics for Prometheus, from the same view as the page: base units, few labels, no UID."""

import time
from collections.abc import Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily as Gauge
from prometheus_client.core import Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector
from starlette.requests import Request
from starlette.responses import Response

import node
from node.conditions import View
from node.status import Snapshot
from node.web.views import live_of

MIB = 1 << 20


def metrics(request: Request) -> Response:
    """Return all metrics in the text format of Prometheus."""
    return Response(exposed(live_of(request).at(time.time())), media_type=CONTENT_TYPE_LATEST)


def exposed(view: View) -> bytes:
    """Return the metrics of one view."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collected(view))
    return generate_latest(registry)


class _Collected(Collector):
    """The metrics of one view."""

    def __init__(self, view: View) -> None:
        self._view = view

    def collect(self) -> Iterator[Metric]:
        """Yield every metric; without a snapshot only those that need none."""
        yield _gauge("segnode_info", "The version that runs.", "version", {node.__version__: 1.0})
        snapshot = self._view.snapshot
        readable = Gauge("segnode_database_readable", "Whether the database can be read.")
        readable.add_metric([], float(snapshot is not None))
        yield readable
        conditions = Gauge(
            "segnode_condition", "A condition that needs a person.", labels=["code", "subject"]
        )
        for one in self._view.conditions:
            conditions.add_metric([one.code.value, one.subject], 1.0)
        yield conditions
        if snapshot is not None:
            yield from _of_node(snapshot)
            yield from _of_targets(snapshot)
            yield from _of_sources(snapshot)
            yield from _of_sizes(snapshot)


def _of_node(snapshot: Snapshot) -> Iterator[Metric]:
    running = {process.name: float(process.alive) for process in snapshot.processes}
    yield _gauge("segnode_loop_running", "Whether a loop of the node runs.", "loop", running)
    jobs = Gauge("segnode_jobs", "Jobs in the database.", labels=["kind", "state"])
    for kind, states in snapshot.jobs.items():
        for state, count in states.items():
            jobs.add_metric([kind, state], count)
    yield jobs
    since = snapshot.facts.segment_queued_since
    oldest = Gauge("segnode_queue_oldest_seconds", "Age of the oldest queued segmentation.")
    oldest.add_metric([], 0.0 if since is None else max(0.0, snapshot.at - since))
    yield oldest
    free = Gauge("segnode_disk_free_bytes", "Free space of the data folder.")
    free.add_metric([], snapshot.free_gib * (1 << 30))
    yield free
    accepting = Gauge("segnode_accepting", "Whether space allows to accept images.")
    accepting.add_metric([], float(snapshot.accepting))
    yield accepting
    held = Gauge("segnode_series_held", "Series that wait for a person.")
    held.add_metric([], snapshot.facts.held)
    yield held


def _of_targets(snapshot: Snapshot) -> Iterator[Metric]:
    waiting = {one.name: float(one.waiting) for one in snapshot.targets}
    text = "Objects that wait for a target, at most 1000."
    yield _gauge("segnode_target_waiting", text, "target", waiting)
    oldest = {one.name: one.oldest_s or 0.0 for one in snapshot.targets}
    text = "Age of the oldest object that waits for a target."
    yield _gauge("segnode_target_oldest_seconds", text, "target", oldest)


def _of_sources(snapshot: Snapshot) -> Iterator[Metric]:
    last = {one.caller: one.hours[-1][1] for one in snapshot.facts.callers}
    text = "When a source sent its last series, in Unix seconds."
    yield _gauge("segnode_source_last_timestamp_seconds", text, "source", last)


def _of_sizes(snapshot: Snapshot) -> Iterator[Metric]:
    labels = ["package", "size", "engine"]
    seconds = Gauge("segnode_size_seconds", "Time of the reference case here.", labels=labels)
    peak = Gauge("segnode_size_memory_bytes", "Memory of the reference case here.", labels=labels)
    for one in snapshot.models:
        if not one.problem:
            seconds.add_metric([one.package, one.size, one.engine], one.seconds)
            peak.add_metric([one.package, one.size, one.engine], one.peak_mb * MIB)
    yield seconds
    yield peak


def _gauge(name: str, text: str, label: str, values: dict[str, float]) -> Gauge:
    gauge = Gauge(name, text, labels=[label])
    for value, number in values.items():
        gauge.add_metric([value], number)
    return gauge
