"""Measuring seen from outside: one process per measurement, and the list of what is missing.

Promises: a study never waits for a measurement; what was found is on the disk before it counts.
"""

import contextlib
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import msgspec

from node import measured
from node.config import AUTO, Config
from node.errors import ChildKilled, NodeError, TimedOut, Transient, rebuild
from node.measured import Host, Measurement
from node.measured.choose import offered
from node.package import Package, Use, uses
from node.segmenter import messages
from node.segmenter.messages import Bounds, Failed, Measured, MeasureRequest

LONGEST_S = 1800.0  # four runs of a teacher on a whole body take minutes; this long means it hangs
IDLE_S = 5.0  # without a job, before a measurement begins
TICK_S = 0.1
COMPILED = "compiled"  # folder of compiled networks, below the data folder
log = logging.getLogger("node.segmenter")


@dataclass(frozen=True)
class Candidate:
    """One size of one package with one engine."""

    package: Package
    size: str
    engine: str


class Measuring:
    """One measurement under way."""

    def __init__(self, config: Config, host: Host, candidate: Candidate) -> None:
        """Start its process, within the limits that the child has."""
        self.candidate, self._host = candidate, host
        self._until = time.monotonic() + LONGEST_S
        order = MeasureRequest(
            folder=str(candidate.package.folder),
            size=candidate.size,
            engine=candidate.engine,
            compiled=str(config.data.dir / COMPILED),
            bounds=Bounds(
                memory_bytes=int(config.limits.memory),
                niceness=config.limits.niceness,
                threads=config.limits.threads,
                log_level="WARNING",
            ),
        )
        command = [sys.executable, "-m", "node.segmenter.measure", messages.encode(order).decode()]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
        )

    def poll(self, now: float) -> Measurement | None:
        """Return what was found at `now` (Unix seconds), or None while it goes on.

        Raises:
            Transient: nothing was found out that would stay true.
        """
        if self._process.poll() is None:
            if time.monotonic() < self._until:
                return None
            self.kill()
            return self._found(now, TimedOut(f"measuring took longer than {LONGEST_S:.0f} s"))
        assert self._process.stdout is not None
        heard = self._process.stdout.read()
        self._close()
        if not heard:
            status = self._process.returncode
            return self._found(now, ChildKilled(f"the measuring process ended with {status}"))
        said = messages.read_message(heard)
        if isinstance(said, Measured):
            return self._found(now, said)
        assert isinstance(said, Failed)  # it says nothing else
        return self._found(now, rebuild(said.code, said.message, said.advice))

    def kill(self) -> None:
        """End it without a result."""
        if self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._close()

    def _close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()

    def _found(self, now: float, said: Measured | NodeError) -> Measurement:
        if isinstance(said, Transient):
            raise said
        candidate = self.candidate
        bare = Measurement(
            digest=candidate.package.digest,
            package=candidate.package.name,
            size=candidate.size,
            engine=candidate.engine,
            version=self._host.versions[candidate.engine],
            cpu=self._host.cpu,
            threads=self._host.threads,
            at=now,
        )
        if isinstance(said, NodeError):
            return msgspec.structs.replace(bare, problem=said.message)
        return msgspec.structs.replace(bare, **msgspec.structs.asdict(said))


def measure_now(config: Config, host: Host, candidate: Candidate) -> Measurement:
    """Measure while the caller waits.

    Raises:
        Transient: nothing was found out that would stay true.
    """
    under_way = Measuring(config, host, candidate)
    try:
        while (found := under_way.poll(time.time())) is None:
            time.sleep(TICK_S)
    finally:
        under_way.kill()
    return found


def candidates(found: Sequence[Use], host: Host) -> Iterator[Candidate]:
    """Yield what a choice depends on, the quickest to measure first; nothing where none is left."""
    seen = set()
    for use in found:
        engines = [name for name in host.versions if use.engine in (AUTO, name)]
        sizes = offered(use.package)[::-1] if use.size == AUTO else [use.size]
        if len(engines) * len(sizes) == 1:
            continue
        for size in sizes:
            for engine in engines:
                key = (use.package.digest, size, engine)
                if key not in seen:
                    seen.add(key)
                    yield Candidate(use.package, size, engine)


class Background:
    """Measures what is missing, one after the other, while there is nothing else to do."""

    def __init__(self, config: Config, idle_s: float = IDLE_S) -> None:
        """Remember what to measure with; nothing is looked up before it was idle for `idle_s`."""
        self._config, self._idle_s = config, idle_s
        self._host = measured.here(config.limits.threads)
        self._todo: list[Candidate] | None = None
        self._under_way: Measuring | None = None
        self._idle_since = time.monotonic()

    def give_way(self) -> None:
        """End what is under way, at once; it begins anew when the node is idle."""
        self._idle_since = time.monotonic()
        if self._under_way is not None:
            self._under_way.kill()
            self._under_way = None

    close = give_way

    def go_on(self) -> str:
        """Begin, continue or finish a measurement; return in words what is measured, or nothing."""
        if time.monotonic() - self._idle_since < self._idle_s:
            return ""
        if self._todo is None:
            self._todo = self._missing()
        if not self._todo:
            return ""
        candidate = self._todo[0]
        if self._under_way is None:
            self._under_way = Measuring(self._config, self._host, candidate)
        elif self._is_finished(self._under_way):
            self._under_way = None
            self._todo.pop(0)
        return f"measuring {candidate.package.name}, size {candidate.size}, {candidate.engine}"

    def _is_finished(self, under_way: Measuring) -> bool:
        where = {"package": under_way.candidate.package.name, "size": under_way.candidate.size}
        try:
            found = under_way.poll(time.time())
        except Transient as error:  # left out until the next start
            log.warning("not measured: %s", error, extra={**where, "code": error.code})
            return True
        if found is None:
            return False
        measured.write(self._config.data, found)
        said = found.problem or f"{found.seconds:.2f} s, {found.peak_mb:.0f} MiB"
        log.info("measured with %s: %s", found.engine, said, extra=where)
        return True

    def _missing(self) -> list[Candidate]:
        known = measured.known(self._config.data, self._host)
        has = {(one.digest, one.size, one.engine) for one in known}
        try:
            wanted = list(candidates(uses(self._config), self._host))
        except NodeError as error:  # whoever plans with it says so too, and more loudly
            log.warning("nothing is measured: %s", error, extra={"code": error.code})
            return []
        return [one for one in wanted if (one.package.digest, one.size, one.engine) not in has]
