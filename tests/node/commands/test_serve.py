"""`segnode serve`: the end of a loop, and when it ends the whole node. Real processes."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from node.commands.serve import LONGEST_PAUSE_S, LOOPS, STEADY_S, after
from node.pipes import encode
from node.process import ProcessLimits
from tests.support.commanding import configure
from tests.support.running import segnode, wait_until

LISTEN = ("--only", "listener")


@pytest.fixture
def taken(tmp_path: Path) -> Iterator[tuple[Path, int]]:
    """Return the configuration of a node whose port another program uses, and that port."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = int(other.getsockname()[1])
        node = {"host": "127.0.0.1", "port": port}
        yield configure(tmp_path / "a.yaml", tmp_path, node=node, rules=[]), port


@pytest.fixture
def free(tmp_path: Path) -> Path:
    return configure(tmp_path / "a.yaml", tmp_path, rules=[])


def serve(file: Path, *options: str, stdin: int = subprocess.PIPE) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "node", "serve", "--config", str(file), *options]
    return subprocess.Popen(command, stdin=stdin, stderr=subprocess.PIPE)


def until_it_listens(process: "subprocess.Popen[bytes]") -> None:
    """Read the log until the listener listens."""
    wait_until(lambda: b"listening" in read(process), describe=lambda: "no listener", every_s=0)


def ended(process: "subprocess.Popen[bytes]", within_s: float = 240.0) -> tuple[int, str]:
    """Return status and errors of a process that ends while its input is still open."""
    try:
        process.wait(within_s)
    finally:
        process.kill()
    assert process.stderr is not None
    printed = process.stderr.read().decode()
    process.communicate()
    return process.returncode, printed


def test_a_loop_that_cannot_start_logs_one_line(taken: tuple[Path, int]) -> None:
    file, port = taken
    status, printed = ended(serve(file, *LISTEN, "--lifeline"))
    assert status == 78, printed
    (line,) = [json.loads(text) for text in printed.splitlines()]
    assert (line["process"], line["level"], line["code"]) == (
        "listener",
        "critical",
        "misconfigured",
    )
    assert f"port {port}" in line["message"]
    assert line["advice"]


@pytest.mark.slow
def test_a_used_port_ends_the_whole_node_with_78(taken: tuple[Path, int]) -> None:
    file, port = taken
    node = serve(file)
    status, printed = ended(node)
    lines = [json.loads(text) for text in printed.splitlines()]
    assert status == 78, printed
    assert any(f"port {port}" in line["message"] for line in lines)
    assert "listener" in lines[-1]["message"]
    started = [line["pid"] for line in lines if line["message"] == "started"]
    assert started
    assert not [pid for pid in started if psutil.pid_exists(pid)]


def test_a_data_folder_that_cannot_be_created_has_a_message(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    file = configure(tmp_path / "a.yaml", tmp_path, data={"dir": "file/data"}, rules=[])
    status, printed = ended(serve(file))
    assert status == 74
    assert printed.splitlines()[0].startswith(
        f"segnode serve: {tmp_path}/file/data: Not a directory"
    )
    status, printed = ended(serve(file, *LISTEN))
    (line,) = [json.loads(text) for text in printed.splitlines()]
    assert (status, line["code"], line["process"]) == (74, "no-access", "listener")
    assert line["advice"]


def test_a_loop_started_by_hand_needs_no_standard_input(free: Path) -> None:
    process = serve(free, *LISTEN, stdin=subprocess.DEVNULL)
    try:
        until_it_listens(process)
        assert process.poll() is None
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()


def test_a_loop_ends_when_its_lifeline_closes(free: Path) -> None:
    process = serve(free, *LISTEN, "--lifeline")
    until_it_listens(process)
    assert process.stdin is not None
    process.stdin.close()
    assert process.wait(240) == 0
    assert process.stderr is not None
    process.stderr.close()


@pytest.mark.slow
def test_the_node_ends_when_its_lifeline_closes(free: Path) -> None:
    node = serve(free, "--lifeline")
    started: list[int] = []
    while len(started) < len(LOOPS):
        line = json.loads(read(node))
        started += [line["pid"]] if line["message"] == "started" else []
    assert node.stdin is not None
    node.stdin.close()
    assert node.wait(240) == 0
    wait_until(lambda: not any(map(is_there, started)), describe=lambda: "its loops outlive it")
    assert node.stderr is not None
    node.stderr.close()


@pytest.mark.slow
def test_status_ends_with_0_only_while_the_node_runs(free: Path) -> None:
    node = serve(free, "--log-level", "warning")

    def status_now() -> tuple[int, list[str]]:
        done = segnode("status", "--json", "--config", str(free))
        return done.returncode, json.loads(done.stdout)["not_running"]

    try:
        wait_until(lambda: status_now() == (0, []), describe=lambda: str(status_now()))
    finally:
        node.terminate()
        node.communicate(timeout=240)
    assert status_now() == (69, list(LOOPS))


def is_there(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def read(process: "subprocess.Popen[bytes]") -> bytes:
    assert process.stderr is not None
    line = process.stderr.readline()
    assert line, "it ended"
    return line


@pytest.mark.parametrize(
    ("status", "ran_s", "pause_s", "was_steady", "is_fatal"),
    [
        (78, 1.0, 1.0, False, True),
        (78, STEADY_S - 1, 4.0, False, True),
        (78, 1.0, 0.0, False, False),  # a predecessor that is dying may hold the port just now
        (78, STEADY_S + 1, 4.0, False, False),  # it worked: what is wrong now may pass
        (78, 1.0, 4.0, True, False),
        (1, 1.0, 4.0, False, False),
        (-9, 1.0, 4.0, False, False),
        (75, 1.0, 4.0, False, False),
    ],
)
def test_only_a_start_that_is_misconfigured_twice_is_fatal(
    status: int, ran_s: float, pause_s: float, was_steady: bool, is_fatal: bool
) -> None:
    assert after(status, ran_s, pause_s, was_steady=was_steady).is_fatal is is_fatal


def test_a_steady_loop_that_is_misconfigured_later_is_restarted_with_growing_pauses() -> None:
    sequels = [after(78, STEADY_S + 1, 0.0, was_steady=False)]
    for _ in range(3):
        sequels.append(after(78, 1.0, sequels[-1].next_pause_s, was_steady=True))
    assert not any(sequel.is_fatal for sequel in sequels)
    assert [sequel.pause_s for sequel in sequels] == [0.0, 1.0, 2.0, 4.0]


def test_the_pause_doubles_to_a_limit_and_a_steady_loop_restarts_at_once() -> None:
    pauses = [0.0]
    for _ in range(8):
        pauses.append(after(1, 1.0, pauses[-1], was_steady=False).next_pause_s)
    assert pauses[:4] == [0.0, 1.0, 2.0, 4.0]
    assert pauses[-1] == LONGEST_PAUSE_S
    assert after(1, STEADY_S + 1, 16.0, was_steady=True).pause_s == 0.0


@pytest.mark.parametrize("module", ["node.segmenter.child", "node.reader.child"])
def test_a_child_with_a_closed_output_ends_without_an_error(module: str) -> None:
    """It cannot write its answers, while its other thread still reads requests."""
    bounds = ProcessLimits(memory_bytes=1 << 32, niceness=0, threads=1, log_level="INFO")
    read_end, write_end = os.pipe()
    os.close(read_end)  # before it says that it is ready
    process = subprocess.Popen(
        [sys.executable, "-m", module, encode(bounds).decode()],
        stdin=subprocess.PIPE, stdout=write_end, stderr=subprocess.PIPE,
    )  # fmt: skip
    os.close(write_end)
    status, printed = ended(process)
    assert (status, printed) == (0, "")
