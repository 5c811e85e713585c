"""A child process receives whole lines, and ends when its parent is gone."""

import os
import signal
import subprocess
import sys

import pytest

from node import pipes
from node.process import ProcessLimits

ECHO = """
from node import pipes
output = pipes.private_output()
print("of a library")
requests = pipes.listen(bytes)
while True:
    output.write(requests.get() + b"!")
    output.flush()
"""


def child() -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-c", ECHO],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def test_lines_arrive_whole_and_in_order() -> None:
    with child() as process:
        assert process.stdin is not None
        assert process.stdout is not None
        long = b"c" * (3 * pipes.PIPE_BYTES)
        for part in (b"a", b"a\nb\n", long, b"\n"):
            process.stdin.write(part)
            process.stdin.flush()
        expected = b"aa!b!" + long + b"!"
        assert process.stdout.read(len(expected)) == expected
        process.stdin.close()
        assert process.wait() == 0


def test_a_line_without_end_is_no_request() -> None:
    with child() as process:
        printed, log = process.communicate(b"a\nb")
    assert b"b" not in printed
    assert log in (b"", b"of a library\n")


@pytest.mark.parametrize("name", ["line\nbreak", "", "ä"])
def test_a_message_is_one_line(name: str) -> None:
    line = pipes.encode(ProcessLimits(threads=1, log_level=name))
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1


def test_a_killed_child_is_not_alive() -> None:
    process = pipes.Child("node.reader.child", ProcessLimits(threads=1), {"OMP_NUM_THREADS": "1"})
    assert os.getpgid(process.pid) == process.pid
    process.kill()
    assert os.waitstatus_to_exitcode(os.waitpid(process.pid, 0)[1]) == -signal.SIGKILL
    assert not process.is_alive
    process.kill()
    process.close()
