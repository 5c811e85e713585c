"""The reader process: what it answers, how it dies, and what replaces it."""

import os
import resource
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from pydicom.uid import ExplicitVRLittleEndian, RLELossless

from node.arrival import findings_of
from node.errors import ReaderKilled
from node.pipes import encode
from node.reader import Reader, ReaderDeaths, ReaderLimits, StillReading
from node.reader.child import HeaderCache
from node.reader.deaths import MOST_DEATHS
from node.reader.messages import MOST_MESSAGE_BYTES, SeriesReading, read_message
from node.reader.process import MOST_SLOW
from node.series import read_headers
from tests.support.hostile import of_one_large_frame, slow_to_decode, with_many_items
from tests.support.phantoms import Phantom, Scan, make
from tests.support.reading import shared_reader
from tests.support.running import WAIT_S, wait_until

SHORT = ReaderLimits(cpu_s=1.0, compare_cpu_s=1.0, cpu_s_per_mib=0.0)


@pytest.fixture
def head(tmp_path: Path) -> Scan:
    return make(tmp_path / "head", Phantom(shuffle=False))


@pytest.fixture
def reader() -> Iterator[Reader]:
    with Reader(SHORT, "CRITICAL") as one:
        yield one


def names(scan: Scan) -> list[str]:
    return [path.name for path in scan.paths]


def test_findings_cross_the_pipe_unchanged(head: Scan) -> None:
    reading = shared_reader().survey(head.paths[0].parent, names(head))
    headers = [header for path in head.paths for header in read_headers(path)]
    assert reading == SeriesReading(findings_of(headers))
    assert reading.findings is not None
    assert reading.findings.grid is not None
    assert reading.findings.grid.is_close(head.grid)


def test_an_unreadable_file_is_a_problem_beside_the_findings(head: Scan) -> None:
    head.paths[3].write_bytes(b"no image")
    reading = shared_reader().survey(head.paths[0].parent, names(head))
    assert reading.problem is not None
    assert reading.problem.code == "not-an-image"
    assert reading.findings is not None
    assert reading.findings.headers == len(head.paths) - 1


def test_a_folder_of_unreadable_files_has_no_findings(tmp_path: Path) -> None:
    (tmp_path / "a.dcm").write_bytes(b"no image")
    reading = shared_reader().survey(tmp_path, ["a.dcm"])
    assert (reading.findings, reading.problem is None) == (None, False)


def test_texts_of_a_header_are_cut(head: Scan, tmp_path: Path) -> None:
    long = Phantom(tags={"SeriesDescription": "x" * 4000, "BodyPartExamined": "Y" * 4000})
    scan = make(tmp_path / "long", long)
    assert len(encode(shared_reader().survey(scan.paths[0].parent, names(scan)))) < 8192


def test_a_failing_disk_is_a_transient_error(tmp_path: Path) -> None:
    (tmp_path / "a.dcm").symlink_to("/proc/self/mem")  # a read at its beginning fails
    with pytest.raises(OSError, match="Input/output error"):
        shared_reader().survey(tmp_path, ["a.dcm"])


def test_too_much_processor_time_ends_the_reader(reader: Reader, head: Scan) -> None:
    with_many_items(head.paths[0])
    with pytest.raises(ReaderKilled, match=r"took more than|did not answer"):
        reader.survey(head.paths[0].parent, names(head))
    assert reader.survey(head.paths[0].parent, names(head)[1:]).findings, "the next one answers"


def test_too_much_memory_ends_the_reader(head: Scan) -> None:
    with_many_items(head.paths[0])
    with Reader(log_level="CRITICAL") as reader:
        reader.survey(head.paths[0].parent, names(head)[1:])
        used = int(Path(f"/proc/{reader.pid}/statm").read_text("ascii").split()[5])
        most = used * os.sysconf("SC_PAGE_SIZE") + (60 << 20)
        resource.prlimit(reader.pid, resource.RLIMIT_DATA, (most, most))
        with pytest.raises(ReaderKilled, match="needed more than 1024 MiB"):
            reader.survey(head.paths[0].parent, names(head))


def test_a_comparison_that_takes_too_long_ends_the_reader(reader: Reader, head: Scan) -> None:
    one = slow_to_decode(head.paths[0])
    other = head.paths[1]
    other.write_bytes(one.read_bytes())
    with pytest.raises(ReaderKilled):
        reader.same_image(one, slow_to_decode(other, padding=2))


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, RLELossless])
def test_a_comparison_without_memory_ends_the_reader(head: Scan, syntax: str) -> None:
    """What could not be decoded for lack of memory is not called another image."""
    one, other = head.paths[:2]
    of_one_large_frame(one, syntax)
    other.write_bytes(one.read_bytes())
    with other.open("ab") as file:
        file.write(bytes(2))  # not the same bytes
    with Reader(log_level="CRITICAL") as reader:
        reader.survey(head.paths[0].parent, names(head)[2:])
        used = int(Path(f"/proc/{reader.pid}/statm").read_text("ascii").split()[5])
        most = used * os.sysconf("SC_PAGE_SIZE") + (40 << 20)
        resource.prlimit(reader.pid, resource.RLIMIT_DATA, (most, most))
        with pytest.raises(ReaderKilled, match="needed more than 1024 MiB"):
            reader.same_image(one, other)


def test_the_reader_is_limited_and_niced(reader: Reader) -> None:
    reader.start()
    wait_until(
        lambda: os.getpriority(os.PRIO_PROCESS, reader.pid) > 0,
        describe=lambda: "the reader did not follow",
    )
    wait_until(
        lambda: Path(f"/proc/{reader.pid}/oom_score_adj").read_text("ascii") == "1000\n",
        describe=lambda: "the reader does not volunteer",
    )
    most, _ = resource.prlimit(reader.pid, resource.RLIMIT_DATA)
    assert most == 2 << 30


def test_a_reader_that_died_while_idle_is_replaced(reader: Reader, head: Scan) -> None:
    reader.survey(head.paths[0].parent, names(head))
    first = reader.pid
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: reader.pid == 0, describe=lambda: "the reader did not follow")
    assert reader.survey(head.paths[0].parent, names(head)).findings
    assert reader.pid not in (0, first)


def test_a_reader_without_processor_time_is_a_fault_of_the_machine(head: Scan) -> None:
    # a tenth of a second is ten ticks of the clock that counts processor time
    limits = ReaderLimits(cpu_s=1.0, cpu_s_per_file=0.0, most_wait=0.5)
    with Reader(limits, "CRITICAL") as reader:
        reader.survey(head.paths[0].parent, names(head)[:1])
        os.kill(reader.pid, signal.SIGSTOP)
        with pytest.raises(TimeoutError):
            reader.survey(head.paths[0].parent, names(head) * 5000)  # more than a pipe holds
        assert reader.pid == 0


def test_a_slow_request_goes_on_beside_the_others(head: Scan, tmp_path: Path) -> None:
    folder = head.paths[0].parent
    well = make(tmp_path / "well", Phantom(seed=2))
    with Reader(log_level="CRITICAL", patience_s=0.0) as reader:
        with pytest.raises(StillReading):
            reader.survey(folder, names(head))
        with pytest.raises(StillReading):
            reader.survey(well.paths[0].parent, names(well))
        assert reader.pid, "the next request has a warm process"
        for scan in (head, well):
            assert answer_of(reader, scan) == shared_reader().survey(
                scan.paths[0].parent, names(scan)
            )
        assert not reader._slow


def test_an_answer_about_fewer_files_is_not_used(head: Scan) -> None:
    folder = head.paths[0].parent
    with Reader(log_level="CRITICAL", patience_s=0.0) as reader:
        with pytest.raises(StillReading):
            reader.survey(folder, names(head)[:2])
        reading = answer_of(reader, head)
    assert reading.findings is not None
    assert reading.findings.headers == len(head.paths)


def test_a_slow_request_dies_by_its_own_limits(head: Scan) -> None:
    with_many_items(head.paths[0])
    with Reader(SHORT, "CRITICAL", patience_s=0.0) as reader:
        with pytest.raises(ReaderKilled, match=r"took more than|did not answer"):
            answer_of(reader, head)
        assert not reader._slow


def test_too_many_slow_requests_start_anew_later(tmp_path: Path) -> None:
    scans = [make(tmp_path / str(at), Phantom(seed=at)) for at in range(MOST_SLOW + 1)]
    with Reader(log_level="CRITICAL", patience_s=0.0) as reader:
        for scan in scans[:-1]:
            with pytest.raises(StillReading):
                reader.survey(scan.paths[0].parent, names(scan))
        with pytest.raises(OSError, match="too many series"):
            reader.survey(scans[-1].paths[0].parent, names(scans[-1]))
        assert len(reader._slow) == MOST_SLOW
        assert all(answer_of(reader, scan).findings for scan in scans)


def answer_of(reader: Reader, scan: Scan) -> SeriesReading:
    """Ask until the answer is there."""
    until = time.monotonic() + WAIT_S
    while time.monotonic() < until:
        try:
            return reader.survey(scan.paths[0].parent, names(scan))
        except StillReading:
            time.sleep(0.05)
    raise AssertionError("there is no answer")


def test_an_interrupted_reader_refuses_requests(reader: Reader, head: Scan) -> None:
    with_many_items(head.paths[0])
    reader.survey(head.paths[0].parent, names(head)[1:])
    timer = threading.Timer(0.3, reader.interrupt)
    timer.start()
    with pytest.raises(InterruptedError):
        reader.survey(head.paths[0].parent, names(head))
    timer.join()
    with pytest.raises(InterruptedError):
        reader.survey(head.paths[0].parent, names(head))


def test_the_reader_ends_with_the_process_that_asks(head: Scan) -> None:
    with Reader(log_level="CRITICAL") as reader:
        reader.survey(head.paths[0].parent, names(head))
        child = reader._child
        assert child is not None
        child._stdin.close()
        wait_until(lambda: not child.is_alive, describe=lambda: "the reader did not follow")


def test_headers_that_were_not_needed_for_long_are_read_again(head: Scan) -> None:
    cache = HeaderCache(most_headers=4)
    for path in head.paths:
        cache.read(path)
    cache.trim()
    assert list(cache._known) == head.paths[-4:]


def test_an_answer_is_typed(head: Scan) -> None:
    for line in (b"[]", b'{"type":"pickle"}', b'{"type":"surveyed","findings":{"modality":1}}'):
        with pytest.raises(msgspec.MsgspecError):
            read_message(line)
    assert MOST_MESSAGE_BYTES <= 1 << 20


def test_deaths_are_counted_on_the_disk(tmp_path: Path) -> None:
    for count in range(1, MOST_DEATHS + 1):
        assert not ReaderDeaths(tmp_path).are_too_many("a")
        assert ReaderDeaths(tmp_path).add("a", "it died") == count
    deaths = ReaderDeaths(tmp_path)
    assert deaths.are_too_many("a")
    assert not deaths.are_too_many("b")
    deaths.allow_one_more("a")
    assert not deaths.are_too_many("a")
    deaths.add("a", "it died again")
    assert deaths.are_too_many("a")
    deaths.add("b", "it died")
    deaths.keep_only({"b"})
    assert (deaths.of("a").deaths, deaths.of("b").deaths) == (0, 1)
    deaths.forget("b")
    deaths.forget("b")
    assert list((tmp_path / "reader").iterdir()) == []


def test_a_damaged_counter_counts_as_none(tmp_path: Path) -> None:
    ReaderDeaths(tmp_path).add("a", "it died")
    (tmp_path / "reader/a.json").write_bytes(b"{")
    assert ReaderDeaths(tmp_path).of("a").deaths == 0


def test_one_process_answers_many_requests(head: Scan) -> None:
    shared_reader().survey(head.paths[0].parent, names(head))
    process = shared_reader().pid
    for _ in range(20):
        shared_reader().survey(head.paths[0].parent, names(head))
    assert shared_reader().pid == process
