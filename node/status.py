"""One snapshot of the node for an operator: processes, queue, targets, models, newest series.

Promises: no patient data; reading the status never changes anything on the disk.
"""

import fcntl
import os
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import sqlalchemy as sa

from node import disk, measured, queue, schema
from node.clock import STEP_S
from node.config import AUTO, AcceptedState, Config, DataConfig, accepted_state, in_use
from node.database_faults import (
    node_error,
    refuse_network_file_system,
    repair_advice,
    translate_errors,
)
from node.errors import Misconfigured, NodeError
from node.measured import Measurement
from node.package import models_in
from node.package.folder import MANIFEST, file_digest
from node.schema import opening
from node.states import Kind
from node.tls import Credentials, Lifetime, page_lifetime

SILENT_AFTER_S = 60.0  # without a heartbeat for so long, a process counts as not running
NOTES_SHOWN = 10
NOWHERE = schema.IN_MEMORY
NONE = "none"  # a rule that only records


@dataclass(frozen=True)
class Process:
    """One loop of the node."""

    name: str
    alive: bool
    last_seen_s: float | None  # seconds ago; None if never, or if no heartbeat is needed
    configuration: str = ""  # digest of the one that it uses; empty if unknown
    configured_at: float | None = None  # since when, in Unix seconds


@dataclass(frozen=True)
class TargetState:
    """One target and its queued deliveries."""

    name: str
    ae: str
    address: str
    waiting: int
    oldest_s: float | None
    last_problem: str


@dataclass(frozen=True)
class ModelState:
    """One size of a package with the engine that was measured to be the fastest here."""

    package: str
    size: str
    engine: str
    seconds: float  # for the reference case
    peak_mb: float
    problem: str  # why no engine can run it; empty if one can


@dataclass(frozen=True)
class PackageProblem:
    """A package that a rule uses and that cannot work on this machine."""

    package: str  # as the rule or the measurement names it
    problem: str


@dataclass(frozen=True)
class TlsState:
    """The files of `tls` and the certificate of the page, as a new start would read them."""

    lifetimes: tuple[Lifetime, ...] = ()  # empty without certificates
    problem: str = ""  # why they cannot be used
    advice: str = ""


@dataclass(frozen=True)
class Snapshot:
    """The node at one moment."""

    at: float  # Unix seconds
    ae_title: str
    processes: tuple[Process, ...]
    configuration: AcceptedState | None  # that every process should use; None: it never ran
    jobs: dict[str, dict[str, int]]  # kind -> state -> count
    targets: tuple[TargetState, ...]
    free_gib: float
    accepting: bool  # enough free bytes and inodes
    shortage: str  # which of them is too low; empty if none is
    engine: str  # as configured
    models: tuple[ModelState, ...]  # measured on this machine
    series: tuple[queue.SeriesHistory, ...]  # the newest last
    notes: tuple[queue.Event, ...]  # about rejected callers and images
    facts: queue.Facts  # from which `node.conditions` derives what needs a person
    package_problems: tuple[PackageProblem, ...]  # of packages that rules use
    tls: TlsState

    @property
    def not_running(self) -> tuple[str, ...]:
        """The loops that are not alive."""
        return tuple(process.name for process in self.processes if not process.alive)


def open_read_only(data: DataConfig) -> sa.Engine:
    """Open the database for reading: nothing is created, changed or locked against a writer.

    For a node that never ran, return an empty database.

    Raises:
        Misconfigured: it cannot be read, or it has another schema version.
        Transient: it is locked, its disk is full or failing, or its server does not answer.
    """
    path = str(data.dir / schema.FILE_NAME)
    url = (
        schema.parse_url(data.database) if data.database else sa.URL.create("sqlite", database=path)
    )
    database = f"the database {url.render_as_string(hide_password=True)}"
    try:
        if url.get_backend_name() != "sqlite":
            engine = sa.create_engine(url)
        elif Path(url.database or "").exists():
            engine = _read_only(Path(url.database or ""))
        else:
            return schema.open_database(NOWHERE)
        with engine.connect() as connection:
            version = schema.version_of(connection)
    except (*schema.UNUSABLE, sa.exc.NoSuchModuleError, ModuleNotFoundError) as exc:
        known = node_error(exc, database, is_opening=True)
        if known is not None:
            raise known from exc
        message = f"{database} cannot be read"
        raise Misconfigured(message, advice=repair_advice(exc)) from exc
    if version is None:
        return schema.open_database(NOWHERE)
    schema.check_version(version)
    translate_errors(engine, database)
    return engine


def _read_only(file: Path) -> sa.Engine:
    """Open an SQLite file without permission to write."""
    refuse_network_file_system(file)
    # A reader creates the -wal and -shm files where no writer has; immutable prevents that
    mode = "mode=ro" if file.with_name(f"{file.name}-wal").exists() else "immutable=1"
    address = f"file:{quote(str(file))}?{mode}"

    def connect() -> sqlite3.Connection:
        return sqlite3.connect(
            address, uri=True, timeout=opening.BUSY_TIMEOUT_S, isolation_level=None
        )

    engine = sa.create_engine("sqlite://", creator=connect)

    @sa.event.listens_for(engine, "begin")
    def _(connection: sa.Connection) -> None:
        connection.exec_driver_sql("BEGIN")  # several queries, one state of the database

    return engine


def snapshot(config: Config, engine: sa.Engine, now: float, series: int = 10) -> Snapshot:
    """Collect the state of the node at `now`; `series` limits the number of histories."""
    space = disk.space(config.data.dir)
    shortage = space.shortage(config.data.stop_accepting_below)
    models = tuple(_models(config))
    jobs: dict[str, dict[str, int]] = {}
    for (kind, state), count in queue.counts(engine).items():
        jobs.setdefault(kind.value, {})[state.value] = count
    facts = queue.facts(engine, config.targets, now, config.data.keep.failed)
    return Snapshot(
        at=now,
        ae_title=config.node.ae_title,
        processes=_processes(config, engine, now),
        configuration=accepted_state(config.data.dir),
        jobs=jobs,
        targets=tuple(_target(config, engine, name, facts, now) for name in config.targets),
        free_gib=space.free_bytes / 2**30,
        accepting=not shortage,
        shortage=shortage,
        engine=config.model.engine,
        models=models,
        series=tuple(queue.histories(engine, limit=series)),
        notes=tuple(queue.notes(engine, limit=NOTES_SHOWN)),
        facts=facts,
        package_problems=tuple(_package_problems(config, models)),
        tls=_tls(config, now),
    )


def _tls(config: Config, now: float) -> TlsState:
    """Describe the certificates of the connections and of the page."""
    try:
        own = Credentials(config.tls).lifetimes(now) if config.tls.is_on else ()
        page = page_lifetime(config.page, now, config.tls.warn_before)
        return TlsState(own + ((page,) if page else ()))
    except NodeError as exc:
        return TlsState(problem=exc.message, advice=exc.advice)


def _package_problems(config: Config, models: Sequence[ModelState]) -> Iterator[PackageProblem]:
    """Yield the rules without a package, and the packages whose chosen size runs nowhere.

    The networks are not read: `segnode check` verifies their digests.
    """
    names = [f"{path.parent.name}/{path.name}" for path in models_in(config.model.dir)]
    chosen = set()
    for rule in config.rules:
        if rule.use == NONE:
            continue
        matching = [name for name in names if rule.use in (name, name.partition("/")[0])]
        if matching:
            chosen.add((matching[-1], rule.size or config.model.size))
        else:
            yield PackageProblem(rule.use, f"rule {rule.name} uses it, and it is not installed")
    for model in models:
        if model.problem and (model.package, model.size) in chosen:
            yield PackageProblem(model.package, f"size {model.size}: {model.problem}")


def _models(config: Config) -> Iterator[ModelState]:
    """Yield the measurements of the installed packages, without reading their networks."""
    host = measured.this_host(config.limits.threads)
    digests = {file_digest(folder / MANIFEST) for folder in models_in(config.model.dir)}
    allowed = host.versions if config.model.engine == AUTO else (config.model.engine,)
    by_size: dict[tuple[str, str], list[Measurement]] = {}
    for one in measured.read(config.data, host):
        if one.digest in digests and one.engine in allowed:
            by_size.setdefault((one.package, one.size), []).append(one)
    for (package, size), measurements in sorted(by_size.items()):
        best = measured.fastest(measurements)
        if best is None:
            yield ModelState(package, size, "", 0.0, 0.0, measurements[0].problem)
        else:
            yield ModelState(package, size, best.engine, best.seconds, best.peak_mb, "")


def _processes(config: Config, engine: sa.Engine, now: float) -> tuple[Process, ...]:
    heartbeats = queue.beats(engine)
    beats = {beat.process: now - beat.at for beat in heartbeats}
    pids = {beat.process: beat.pid for beat in heartbeats}
    used = in_use(config.data.dir)

    def process(name: str, *, alive: bool, last_seen_s: float | None) -> Process:
        one = used.get(name)
        return Process(
            name, alive, last_seen_s, one.digest if one else "", one.since if one else None
        )

    listener = process("listener", alive=listens(config.data.dir / "inbox"), last_seen_s=None)
    others = []
    monitor = ("monitor",) if config.is_monitored else ()
    for name in ("segmenter", "sender", "housekeeping", *monitor):
        ago = beats.get(name)
        if ago is not None and ago < -STEP_S:
            ago = None  # the clock was set back: the heartbeat is of an unknown time
        alive = ago is not None and ago < SILENT_AFTER_S and _exists(config, pids[name])
        others.append(process(name, alive=alive, last_seen_s=ago))
    return (listener, *others)


def _exists(config: Config, pid: int) -> bool:
    """Return whether a process exists; with a shared database only its heartbeat counts."""
    if config.data.database:
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True  # it exists, but belongs to another user
    return True


def listens(inbox: Path) -> bool:
    """Return whether a listener holds the inbox; it uses no database, so it has no heartbeat."""
    try:
        lock = os.open(inbox / "lock", os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False


def _target(
    config: Config, engine: sa.Engine, name: str, facts: queue.Facts, now: float
) -> TargetState:
    target = config.targets[name]
    waiting = queue.queued_deliveries(engine, name)
    troubles = sorted((t for t in facts.troubles if t.target == name), key=lambda t: t.since)
    oldest = queue.oldest_queued_at(engine, Kind.DELIVER, name)
    return TargetState(
        name=name,
        ae=target.ae,
        address=f"{target.host}:{target.port}",
        waiting=len(waiting),
        oldest_s=None if oldest is None else max(0.0, now - oldest),
        last_problem=troubles[-1].reason if troubles else "",
    )
