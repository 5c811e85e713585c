"""Start and watch measuring processes, and list the measurements that are missing.

Promises: a study never waits for a measurement; a measurement is on the disk before it is used.
"""

import contextlib
import logging
import os
import signal
import subprocess
import time

import msgspec

from node import footprint, measured
from node.config import Config
from node.errors import ChildKilled, NodeError, TimedOut, Transient, rebuild
from node.footprint import Footprint, FootprintRequest
from node.measured import Candidate, Host, Measurement
from node.package import uses
from node.process import ProcessLimits

LONGEST_S = 1800.0  # seven runs of a teacher on a whole body take minutes; after this it hangs
IDLE_S = 5.0  # time without a job before a measurement starts
TICK_S = 0.1
COMPILED = "compiled"  # folder of compiled networks, below the data folder
log = logging.getLogger("node.segmenter")


class MeasuringProcess:
    """One running measurement."""

    def __init__(self, config: Config, host: Host, candidate: Candidate) -> None:
        """Start the process, with the limits of the segmenter's child."""
        self.candidate, self._host = candidate, host
        self._deadline = time.monotonic() + LONGEST_S
        request = FootprintRequest(
            folder=str(candidate.package.folder),
            size=candidate.size,
            engine=candidate.engine,
            compiled=str(config.data.dir / COMPILED),
            limits=ProcessLimits(
                memory_bytes=int(config.limits.memory),
                niceness=config.limits.niceness,
                threads=config.limits.threads,
                log_level="WARNING",
            ),
        )
        self._process = subprocess.Popen(
            footprint.command(request),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )

    def poll(self, now: float) -> Measurement | None:
        """Return the measurement, made at `now` (Unix seconds), or None while it runs.

        Raises:
            Transient: the process ended for a reason that may pass.
        """
        if self._process.poll() is None:
            if time.monotonic() < self._deadline:
                return None
            self.kill()
            return self._measurement(now, TimedOut(f"measuring took longer than {LONGEST_S:.0f} s"))
        assert self._process.stdout is not None
        output = self._process.stdout.read()
        self._close()
        if not output:
            status = self._process.returncode
            error = ChildKilled(f"the measuring process ended with status {status}")
            return self._measurement(now, error)
        answer = footprint.read_answer(output)
        if isinstance(answer, Footprint):
            return self._measurement(now, answer)
        return self._measurement(now, rebuild(answer.code, answer.message, answer.advice))

    def kill(self) -> None:
        """End the process without a result."""
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

    def _measurement(self, now: float, result: Footprint | NodeError) -> Measurement:
        if isinstance(result, Transient):
            raise result
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
        if isinstance(result, NodeError):
            return msgspec.structs.replace(bare, problem=result.message)
        return msgspec.structs.replace(bare, **msgspec.structs.asdict(result))


def measure_now(config: Config, host: Host, candidate: Candidate) -> Measurement:
    """Measure one candidate and wait for the result.

    Raises:
        Transient: the process ended for a reason that may pass.
    """
    process = MeasuringProcess(config, host, candidate)
    try:
        while (measurement := process.poll(time.time())) is None:
            time.sleep(TICK_S)
    finally:
        process.kill()
    return measurement


class BackgroundMeasuring:
    """Makes the missing measurements, one after the other, while there is no job."""

    def __init__(self, config: Config, idle_s: float = IDLE_S) -> None:
        """Start nothing; the list of missing measurements is made after `idle_s` without a job."""
        self._config, self._idle_s = config, idle_s
        self._host = measured.this_host(config.limits.threads)
        self._missing: list[Candidate] | None = None
        self._running: MeasuringProcess | None = None
        self._idle_since = time.monotonic()

    def reconfigure(self, config: Config) -> None:
        """Measure what another configuration needs; a running measurement starts again."""
        self.interrupt()
        self._config, self._host = config, measured.this_host(config.limits.threads)
        self._missing = None

    def interrupt(self) -> None:
        """Kill the running measurement; it starts again when the node is idle."""
        self._idle_since = time.monotonic()
        if self._running is not None:
            self._running.kill()
            self._running = None

    close = interrupt

    def step(self) -> str:
        """Start, continue or finish a measurement; return its description, or an empty string."""
        if time.monotonic() - self._idle_since < self._idle_s:
            return ""
        if self._missing is None:
            self._missing = self._list_missing()
        if not self._missing:
            return ""
        candidate = self._missing[0]
        if self._running is None:
            self._running = MeasuringProcess(self._config, self._host, candidate)
        elif self._is_finished(self._running):
            self._running = None
            self._missing.pop(0)
        return f"measuring {candidate.package.name}, size {candidate.size}, {candidate.engine}"

    def _is_finished(self, running: MeasuringProcess) -> bool:
        where = {"package": running.candidate.package.name, "size": running.candidate.size}
        try:
            measurement = running.poll(time.time())
        except Transient as error:  # tried again after the next start of the segmenter
            log.warning("not measured: %s", error, extra={**where, "code": error.code})
            return True
        if measurement is None:
            return False
        measured.write(self._config.data, measurement)
        result = (
            measurement.problem or f"{measurement.seconds:.2f} s, {measurement.peak_mb:.0f} MiB"
        )
        log.info("measured with %s: %s", measurement.engine, result, extra=where)
        return True

    def _list_missing(self) -> list[Candidate]:
        measurements = measured.read(self._config.data, self._host)
        done = {(one.digest, one.size, one.engine) for one in measurements}
        try:
            needed = measured.candidates(uses(self._config), self._host)
        except NodeError as error:  # the planner reports the same error at ERROR level
            log.warning("no measurements are made: %s", error, extra={"code": error.code})
            return []
        return [one for one in needed if one.key not in done]
