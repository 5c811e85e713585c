"""A node under mixed load grows neither in memory nor in files, and loses no series.

`pytest tests/soak --soak` takes 30 minutes, `--soak 10` ten; the samples are printed with `-s`.
"""

import json
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from node import queue, schema
from node.commands.exits import FAILED, NOT_RUNNING, OK
from node.config import load
from node.housekeeping.loop import PRUNE_S
from node.listener.reports import MOST_DISTINCT
from node.states import Ending
from tests.support.growth import Samples, quarters, sampled, table
from tests.support.load import MODALITY, STRANGER, Load, NodeClock
from tests.support.orthanc import Orthanc, needs_orthanc, started
from tests.support.packages import make_tiny_package
from tests.support.running import Node, needs_dcmtk, wait_until
from tests.support.running import started as node_started

pytestmark = [
    pytest.mark.slow,
    pytest.mark.orthanc,
    pytest.mark.dcmtk,
    pytest.mark.timeout(0),  # its length is an option
    needs_orthanc,
    needs_dcmtk,
]

KEEP_S = 120.0
READER, MOST_READER_MIB = "node.reader.child", 2048.0
LOOPS = ("listener", "segmenter", "sender", "housekeeping")
RSS_GROWTH, RSS_NOISE_MIB = 1.25, 48.0  # allocators return memory late
NOISE_FILES = 16  # associations that are open at the moment
LOG_KIB_PER_S = 4.0  # each series and each rejected image is a line
DATABASE_KIB_PER_SERIES = 64.0


def test_a_node_under_mixed_load_does_not_grow(
    tmp_path: Path, soak_minutes: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_tiny_package(tmp_path / "models")
    orthanc = Orthanc(tmp_path / "orthanc")
    changes = {
        "callers": [{"ae": ae, "host": "127.0.0.1"} for ae in (MODALITY, "TEST")],
        "data": {
            "dir": "data",
            "stop_accepting_below": "64 MiB",
            "keep": dict.fromkeys(("sources", "results", "failed"), f"{KEEP_S:.0f} s"),
        },
    }
    node = Node(tmp_path / "node", orthanc.dicom_port, tmp_path / "models", changes=changes)
    clock = NodeClock(tmp_path / "clock")
    for name, value in clock.environment.items():
        monkeypatch.setenv(name, value)
    load_on_it = Load(node, tmp_path / "sent", clock)
    with started(orthanc), node_started(node), sampled(node) as samples:
        load_on_it.run(soak_minutes * 60)
        counts = load_on_it.counts
        sent = counts["send_series"] + counts["send_a_series_that_kills_its_reader"]
        endings = wait_for_all(node, sent)
        sys.stdout.write(f"\n{dict(counts)}\n{dict(endings)}\n{table(samples)}\n")
        # just after a step of the clock a loop may have no heartbeat in the new time yet
        wait_until(lambda: not_running(node) == [], describe=lambda: str(not_running(node)))
        notes = queue.notes(node.engine, limit=10_000)
    assert load_on_it.errors == []
    assert set(endings) <= {Ending.DELIVERED, Ending.HELD}
    assert endings.total() == sent, "each series has an ending"
    about_strangers = [note for note in notes if STRANGER in note.detail]
    assert len(about_strangers) <= 4 * MOST_DISTINCT, "they are counted by host"
    check_growth(samples)
    check_files(samples, load_on_it)
    lines = [json.loads(line) for line in (node.folder / "node.log").read_text().splitlines()]
    assert [line for line in lines if line["level"] == "critical"] == []


@pytest.fixture
def soak_minutes(pytestconfig: pytest.Config) -> float:
    minutes: float | None = pytestconfig.getoption("--soak")
    if minutes is None:
        pytest.skip("it takes half an hour: run it with --soak")
    return minutes


def not_running(node: Node) -> list[str]:
    """Return the loops that `segnode status` reports as not running."""
    status = node.json("status", ends=(OK, FAILED, NOT_RUNNING))
    loops: list[str] = status["not_running"]
    return loops


def wait_for_all(node: Node, sent: int) -> Counter[Ending]:
    """Wait until all series that were sent have an ending; return how many have which."""
    until = time.monotonic() + 600
    while time.monotonic() < until:
        endings = Counter(history.ending for history in all_histories(node))
        if endings.total() - endings[Ending.IN_PROGRESS] >= sent:
            break
        time.sleep(2)
    return +endings


def all_histories(node: Node) -> list[queue.SeriesHistory]:
    engine = schema.open_configured(load(node.config_file).data)
    try:
        return queue.histories(engine, limit=10_000)
    finally:
        engine.dispose()


def check_growth(samples: Samples) -> None:
    for role in LOOPS:
        assert len(samples.starts[role]) == 1, f"the {role} was restarted"
    for role, values in samples.rss_mib.items():
        early, late = quarters(values)
        if role == READER:  # it is replaced after each series that kills it
            assert max(values) <= MOST_READER_MIB
            continue
        assert late <= RSS_GROWTH * early + RSS_NOISE_MIB, f"memory of the {role}"
    for role, files in samples.open_files.items():
        early, late = quarters([float(number) for number in files])
        assert late <= early + NOISE_FILES, f"open files of the {role}"


def check_files(samples: Samples, load_on_it: Load) -> None:
    """Check that files stay for their retention, and that the log has one line per event."""
    seconds = samples.at[-1]
    longest_s = KEEP_S + 2 * PRUNE_S  # a folder whose retention just began waits for the next time
    kept_bytes = max(
        sum(size for at, size in load_on_it.sent_bytes if 0 <= end - at <= longest_s)
        for end, _ in load_on_it.sent_bytes
    )
    results = 2 * kept_bytes  # a segmentation of a small phantom is larger than its images
    assert (
        max(samples.data_mib) - max(samples.database_mib) <= (kept_bytes + results) / (1 << 20) + 64
    )
    series = len(load_on_it.sent_bytes)
    assert max(samples.database_mib) * 1024 <= DATABASE_KIB_PER_SERIES * series + 8192
    assert samples.log_kib[-1] <= LOG_KIB_PER_S * seconds + 256
