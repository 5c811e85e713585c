"""A child process and the pipes to it: each message is one line of JSON, no pickle.

Leaves to the callers: which messages there are, and how long to wait for one.
"""

import contextlib
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from typing import BinaryIO, TypeVar

import msgspec

T = TypeVar("T")

PIPE_BYTES = 1 << 16  # capacity of a pipe


class Ready(msgspec.Struct, frozen=True, tag="ready"):
    """The child has imported everything and takes requests."""


def encode(message: msgspec.Struct) -> bytes:
    """Return one line, with its end."""
    return msgspec.json.encode(message) + b"\n"


class Child:
    """The parent's side: one child process in a separate process group."""

    def __init__(
        self, module: str, settings: msgspec.Struct, environment: Mapping[str, str] | None = None
    ) -> None:
        """Start `python -m MODULE SETTINGS`; it is not ready yet.

        Args:
            module: name of the module, which calls `listen`.
            settings: the only argument of the process, as JSON.
            environment: variables to set beside those of this process.
        """
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, msgspec.json.encode(settings).decode()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | dict(environment or {}),
            start_new_session=True,  # a signal to the terminal's group does not reach the child
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._stdin, self._stdout = self._process.stdin, self._process.stdout
        self.is_ready = False

    @property
    def pid(self) -> int:
        """Process id, which is also the id of its group."""
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        """Whether the process runs."""
        return self._process.poll() is None

    def kill(self) -> None:
        """Kill the process with its group; do not wait for its end."""
        if self.is_alive:
            with contextlib.suppress(ProcessLookupError):  # another thread waited for its end
                os.killpg(self.pid, signal.SIGKILL)

    def close(self) -> None:
        """Close the pipes."""
        self._stdout.close()
        with contextlib.suppress(BrokenPipeError):
            self._stdin.close()


def private_output() -> BinaryIO:
    """Return the child's standard output for messages; what libraries print goes to stderr."""
    channel = os.dup(1)
    os.dup2(2, 1)
    return os.fdopen(channel, "wb")


def send(output: BinaryIO, message: msgspec.Struct) -> None:
    """Write one message of the child; end the process if the parent is gone."""
    try:
        output.write(encode(message))
        output.flush()
    except BrokenPipeError:
        os._exit(0)


def listen(decode: Callable[[bytes], T]) -> queue.SimpleQueue[T]:
    """Return the requests that arrive at the child's standard input, each decoded by `decode`.

    A thread reads them, and ends the process at once when the input ends: the parent is gone.
    """
    requests: queue.SimpleQueue[T] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(decode, requests), name="lifeline", daemon=True).start()
    return requests


def _listen(decode: Callable[[bytes], T], requests: queue.SimpleQueue[T]) -> None:
    received = bytearray()
    try:
        # not sys.stdin: an interpreter that ends while another thread holds its lock aborts
        while part := os.read(0, PIPE_BYTES):
            received += part
            while (end := received.find(b"\n")) >= 0:
                requests.put(decode(bytes(received[:end])))
                del received[: end + 1]
    finally:
        os._exit(0)  # safe in the middle of any work: files are written atomically
