"""Time the queue, its history and the inbox as they grow: most of it should stay flat.

    python benchmarks/growth.py [--queued 10000] [--studies 1000] [--folders 16000] [--write]

1. Jobs are queued in steps up to `--queued`; at each step: the time to claim one, to list the
   newest series, and to count everything for `segnode status`.
2. A day of `--studies` studies. Each arrives, is claimed, segmented (without a network: only its
   result is recorded) and delivered; every hour old rows are deleted. Time is an argument, so the
   day takes a minute. At each step: the time of one study, and the memory of this process.
3. The inbox fills with `--folders` series that are decided and kept. At each of four steps: the
   sweep, the first sweep after a start, the search for files to delete, and the search for studies.
"""

import argparse
import statistics
import tempfile
import time
from functools import partial
from pathlib import Path

import page
import psutil
from curves import TRIES, Curve, median_ms, plot
from inbox_growth import STEPS as INBOX_STEPS
from inbox_growth import inbox_growth
from sqlalchemy import Engine

from node import queue, schema
from node.config import DataConfig
from node.queue import (
    DeliverPayload,
    DeliverResult,
    Destination,
    NewArrival,
    NewDelivery,
    NewSegmentJob,
    SegmentPayload,
    SegmentResult,
)
from node.states import ArrivalOutcome, Kind

BEGIN = 1_700_000_000.0  # Unix seconds at the start of the simulated day
DAY_S = 86_400.0
LEASE_S = 60.0
LISTED = 20  # newest series, as `segnode status` shows them
STEPS = 20


def main() -> None:
    """Measure, print, and write the page and its plots where `--write` is given."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--queued", type=int, default=10_000)
    parser.add_argument("--studies", type=int, default=1000)
    parser.add_argument("--folders", type=int, default=16_000)
    parser.add_argument("--write", action="store_true")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="segnode-growth-") as name:
        backlog = _backlog(
            schema.open_configured(DataConfig(dir=Path(name, "queue"))), chosen.queued
        )
        day = _day(schema.open_configured(DataConfig(dir=Path(name, "day"))), chosen.studies)
        inbox = inbox_growth(Path(name, "inbox"), chosen.folders)
    head = ("what", "at the first step", "with all", "ratio")
    rows = [
        (
            f"{curve.name}, {curve.unit}",
            f"{curve.values[0]:.2f} ({curve.at[0]})",
            f"{curve.values[-1]:.2f} ({curve.at[-1]})",
            f"{curve.values[-1] / curve.values[0]:.2f}",
        )
        for curve in backlog + day + inbox
    ]
    runs = f"medians of {TRIES} tries at each of {STEPS} steps, of the inbox {INBOX_STEPS}"
    text = f"{page.origin(runs)}\n\n{page.table(head, rows)}"
    if chosen.write:
        page.PLOTS.mkdir(exist_ok=True)
        plot(backlog, "queued jobs", page.PLOTS / "growth-queue.svg")
        plot(day, "studies since the start of the day", page.PLOTS / "growth-day.svg")
        plot(inbox, "series in the inbox", page.PLOTS / "growth-inbox.svg")
        text += "\n\n![time of queue operations by queue length](plots/growth-queue.svg)"
        text += "\n![time and memory over a day of studies](plots/growth-day.svg)"
        text += "\n![time of housekeeping by series in the inbox](plots/growth-inbox.svg)"
        page.write("Growth", text)
    print(text)


def _backlog(engine: Engine, most: int) -> list[Curve]:
    """Queue jobs in steps; time the queries of the loops and of the operator."""
    claim, listing, counting = (
        Curve("to claim a job", "ms"),
        Curve(f"to list the newest {LISTED} series", "ms"),
        Curve("to count all jobs", "ms"),
    )
    queued = 0
    for step in range(1, STEPS + 1):
        while queued < most * step // STEPS:
            queued += 1
            _arrive(engine, queued, BEGIN + queued)
        now = BEGIN + 2 * most
        claim.add(queued, median_ms(partial(_claim, engine, now)))
        listing.add(queued, median_ms(lambda: queue.histories(engine, limit=LISTED)))
        counting.add(queued, median_ms(lambda: queue.counts(engine)))
    return [claim, listing, counting]


def _claim(engine: Engine, now: float) -> None:
    assert queue.claim(engine, Kind.SEGMENT, "bench", now, LEASE_S) is not None


def _day(engine: Engine, studies: int) -> list[Curve]:
    """Simulate a day of studies; return the time of one and the memory at each step."""
    whole, memory = Curve("a study's bookkeeping", "ms"), Curve("memory of the process", "MB")
    process, newest = psutil.Process(), list[float]()
    for number in range(1, studies + 1):
        now = BEGIN + number * DAY_S / studies
        begin = time.perf_counter()
        _study(engine, number, now)
        newest.append((time.perf_counter() - begin) * 1e3)
        if number % max(1, studies // 24) == 0:
            queue.purge_arrivals(engine, now - DAY_S / 2, now)
        if number % max(1, studies // STEPS) == 0:
            whole.add(number, statistics.median(newest[-TRIES:]))
            memory.add(number, process.memory_info().rss / 1e6)
    return [whole, memory]


def _study(engine: Engine, number: int, now: float) -> None:
    """Take one series from its arrival to its delivery."""
    _arrive(engine, number, now)
    job = queue.claim(engine, Kind.SEGMENT, "bench", now + 1, LEASE_S)
    assert job is not None
    result = SegmentResult(objects=("outbox/x.dcm",), volumes_ml={"x": 1.0}, seconds={"all": 1.0})
    payload = DeliverPayload(
        file="outbox/x.dcm",
        sha256="0" * 64,
        size_bytes=1,
        sop_class_uid="1.2.840.10008.5.1.4.1.1.66.4",
        sop_instance_uid=f"2.25.{number}",
        study_uid=job.study_uid,
        series_uid=f"2.25.7{number}",
        target="pacs",
    )
    queue.finish_segment(
        engine, job, result, [NewDelivery(target="pacs", payload=payload)], now + 10
    )
    delivery = queue.claim(engine, Kind.DELIVER, "bench", now + 11, LEASE_S, target="pacs")
    assert delivery is not None
    done = DeliverResult(status="Success", confirmed_by="query")
    queue.finish_delivery(engine, delivery, done, now + 12)
    queue.heartbeat(engine, "bench", 1, now)


def _arrive(engine: Engine, number: int, now: float) -> None:
    arrival = NewArrival(
        study_uid=f"1.2.{number}",
        series_uid=f"1.2.{number}.1",
        series_key=f"series-{number}",
        inputs_digest=f"{number:064x}",
        instances=200,
        modality="CT",
        caller_ae="SCANNER",
        outcome=ArrivalOutcome.PLANNED,
        rule="all",
        package="bench/1.0",
        size="small",
        first_at=now - 60,
        last_at=now,
    )
    payload = SegmentPayload(
        series_key=arrival.series_key,
        files=tuple(f"{n:04d}.dcm" for n in range(200)),
        inputs_digest=arrival.inputs_digest,
        package="bench/1.0",
        package_digest="0" * 64,
        size="small",
        targets=(Destination(name="pacs"),),
        rule="all",
        caller="SCANNER",
        created_at=now,
    )
    queue.record_arrival(
        engine, arrival, NewSegmentJob(dedup_key=f"job-{number}", payload=payload), now
    )


if __name__ == "__main__":
    main()
