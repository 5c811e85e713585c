"""A child process seen from outside: started before it is needed, watched while it works.

A child that has done its task cleanly serves again: its start costs two seconds of processor time
and its networks stay open. Its memory is looked at in between, so what libraries leak is bounded.
"""

import contextlib
import logging
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable

from node.config import Limits
from node.errors import ChildKilled, NodeError, OutOfMemory, TimedOut, Unsuitable, rebuild
from node.segmenter import messages
from node.segmenter.messages import (
    Bounds,
    Done,
    Failed,
    Message,
    Ready,
    RehearsalRequest,
    Rehearsed,
    SegmentRequest,
    Stage,
)

START_S = 120.0  # imports took 2 s on an idle machine; this long means that it cannot start
TICK_S = 0.2
MOST_TASKS = 100  # per child
IDLE_SHARE = 0.5  # of limits.memory that a child may hold between two tasks
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
log = logging.getLogger("node.segmenter")


class Warm:
    """Keeps one child ready."""

    def __init__(
        self, limits: Limits, log_level: str = "INFO", libraries: tuple[str, ...] = ()
    ) -> None:
        """Start the first child, which imports the libraries of engines; `ready` waits for it."""
        self._limits = limits
        self._libraries = libraries
        self._log_level = log_level
        self._child = self._start()
        self._may_rehearse = True

    def ready(self) -> None:
        """Wait until a child can take a task.

        Raises:
            ChildKilled: it cannot start; no job is to blame, so claim none.
        """
        if not self._child.is_alive:
            self._renew()
        deadline = time.monotonic() + START_S
        while not self._child.is_ready:
            if time.monotonic() > deadline:
                self._child.kill()
                message = f"the model's process was not ready after {START_S:.0f} s"
                raise ChildKilled(message)
            self._child.receive(TICK_S)

    def work(self, task: SegmentRequest, tick: Callable[[Stage], None]) -> Done:
        """Let the child do `task`; `tick` is called several times a second and may raise.

        Raises:
            NodeError: what the child answered, or TimedOut, OutOfMemory, ChildKilled.
        """
        child = self._child
        child.tasks += 1
        try:
            done = _watch(child, task, self._limits, tick, self._hear)
        except Unsuitable:
            if not child.is_idle:  # raised by `tick`: the task goes on
                self._renew()
            raise
        except BaseException:
            self._renew()  # what failed once may be spoilt
            raise
        if child.tasks >= MOST_TASKS or child.rss_bytes() > IDLE_SHARE * self._limits.memory:
            self._renew()
        return done

    def rehearse(self, pieces: Callable[[], Iterable[RehearsalRequest]]) -> None:
        """Let a new child rehearse; call this while there is nothing else to do.

        Nobody waits for it: a task that comes meanwhile is begun when the rehearsal is over. A
        child that dies of one has no successor that rehearses.
        """
        child = self._child
        if self._may_rehearse and child.is_ready and not child.tasks:
            self._may_rehearse = False
            for piece in pieces():
                child.send(piece)
                child.rehearsing += 1
        elif child.rehearsing:
            with contextlib.suppress(ChildKilled):  # `ready` starts the next one
                self._hear(child.receive(0))

    def _hear(self, said: Message | None) -> None:
        """Note how a rehearsal went."""
        if isinstance(said, Rehearsed):
            self._child.rehearsing -= 1
            if said.problem:
                log.warning("the rehearsal did not go well: %s", said.problem)
            else:
                log.info("rehearsed in %.1f s", said.seconds)

    def close(self) -> None:
        """End the child."""
        self._child.kill()

    @property
    def pid(self) -> int:
        """The process that would take the next task."""
        return self._child.pid

    def _renew(self) -> None:
        """Start the next child now, so that it is warm when it is needed."""
        self._may_rehearse = not self._child.rehearsing
        self._child.kill()
        self._child = self._start()

    def _start(self) -> "Child":
        return Child(
            Bounds(
                memory_bytes=int(self._limits.memory),  # JSON knows no units
                niceness=self._limits.niceness,
                threads=self._limits.threads,
                log_level=self._log_level,
                libraries=self._libraries,
            )
        )


class Child:
    """One process and the pipes to it."""

    def __init__(self, bounds: Bounds) -> None:
        """Start it; it is not ready yet."""
        command = [sys.executable, "-m", "node.segmenter.child", messages.encode(bounds).decode()]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # so that whatever it starts dies with it
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._stdin, self._stdout = self._process.stdin, self._process.stdout
        self._rest = b""
        self.is_ready = self.is_idle = False
        self.tasks = self.rehearsing = 0

    @property
    def pid(self) -> int:
        """Its process id, which is its group's too."""
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    def send(self, task: SegmentRequest | RehearsalRequest) -> None:
        """Give it a task; one that has died is found out by `receive`."""
        self.is_idle = False
        try:
            self._stdin.write(messages.encode(task))
            self._stdin.flush()
        except BrokenPipeError:
            pass

    def receive(self, timeout_s: float) -> Message | None:
        """Return its next message, or None when it said nothing in time.

        Raises:
            ChildKilled: it has ended.
        """
        if b"\n" not in self._rest:
            if not select.select([self._stdout], [], [], timeout_s)[0]:
                return None
            heard = os.read(self._stdout.fileno(), 1 << 16)
            if not heard:
                raise self._ended()
            self._rest += heard
        line, found, rest = self._rest.partition(b"\n")
        if not found:
            return None
        self._rest = rest
        said = messages.read_message(line)
        self.is_ready = True
        self.is_idle = isinstance(said, Ready | Rehearsed | Done | Failed)
        return said

    def rss_bytes(self) -> int:
        """Return the memory that it occupies; 0 when it has ended."""
        try:
            with open(f"/proc/{self.pid}/statm", encoding="ascii") as file:  # noqa: PTH123
                return int(file.read().split()[1]) * PAGE_BYTES
        except (OSError, IndexError):
            return 0

    def kill(self) -> None:
        """End it and everything that it started, and wait for that."""
        if self.is_alive:
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()
        self._stdout.close()
        with contextlib.suppress(BrokenPipeError):
            self._stdin.close()

    def _ended(self) -> ChildKilled:
        status = self._process.wait()
        how = f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
        advice = "Signal 9 without a command often means that the machine ran out of memory."
        return ChildKilled(f"the model's process {how}", advice=advice if status == -9 else "")


def _watch(
    child: Child,
    task: SegmentRequest,
    limits: Limits,
    tick: Callable[[Stage], None],
    hear: Callable[[Message], None],
) -> Done:
    """Wait for the answer to a task, and for nothing longer or larger than the limits."""
    child.send(task)
    deadline = time.monotonic() + limits.time
    stage = Stage("start")
    while True:
        said = child.receive(TICK_S)
        match said:
            case Done():
                return said
            case Failed():
                raise rebuild(said.code, said.message, said.advice)
            case Rehearsed():
                hear(said)
            case Stage():
                stage = said
        if child.rss_bytes() > limits.memory:
            raise _too_much(OutOfMemory, f"needed more than {limits.memory >> 20} MiB", stage)
        if time.monotonic() > deadline:
            raise _too_much(TimedOut, f"ran longer than {limits.time:g} s", stage)
        tick(stage)


def _too_much(kind: type[NodeError], what: str, stage: Stage) -> NodeError:
    where = f"{stage.name}, {stage.share:.0%}" if stage.share else stage.name
    limit = "limits.memory" if kind is OutOfMemory else "limits.time"
    advice = f"Raise {limit}, or choose a smaller size of the model."
    return kind(f"the model {what} (stage {where})", advice=advice)
