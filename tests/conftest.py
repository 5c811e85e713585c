"""Fixtures that several unit tests share: commands in process, a database, a real inbox."""

import logging
import signal
import sys
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
import sqlalchemy as sa
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from node import schema
from node.commands import main
from tests.support import postgres
from tests.support.commanding import Run, configure
from tests.support.housekeeping import Site
from tests.support.packages import make_tiny_package
from tests.support.phantoms import Phantom, Scan, make

UNIT = {"architecture", "benchmarks", "kd", "node", "properties"}  # UNIT of the Makefile
LONGEST = "test_kd_nnunet.py"


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Iterator[Run]:
    """Return a function that runs a command and returns its exit status, output and errors.

    A command sets up logging and the interpreter's hooks; the fixture restores them.
    """

    def command(*arguments: object) -> tuple[int, str, str]:
        status = main([str(argument) for argument in arguments])
        printed = capsys.readouterr()
        return status, printed.out, printed.err

    root, hooks = logging.getLogger(), (sys.excepthook, threading.excepthook)
    handlers, level = root.handlers[:], root.level
    yield command
    root.handlers[:] = handlers
    root.setLevel(level)
    sys.excepthook, threading.excepthook = hooks
    logging.captureWarnings(capture=False)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the length of `tests/soak`, which is skipped without it."""
    help_text = "run the soak test for so many minutes (default: 30)"
    parser.addoption("--soak", nargs="?", const=30.0, type=float, metavar="MINUTES", help=help_text)


def pytest_configure() -> None:
    """Let SIGTERM end the run as Ctrl-C does: fixtures stop their servers and unmount disks."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    # on a busy machine an example may take any time
    hypothesis.settings.register_profile("any-machine", deadline=None)
    hypothesis.settings.load_profile("any-machine")


class UnitTestsInOneProcess(LoadScopeScheduling):
    """Give all unit tests to one worker, and the others by module to the free worker.

    The unit tests share a process as long as possible: what leaks or crashes late, shows there.
    """

    def _split_scope(self, nodeid: str) -> str:
        return "unit" if nodeid.split("/")[1] in UNIT else super()._split_scope(nodeid)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the module that takes ten minutes: as the last one, it would run alone."""
    items.sort(key=lambda item: item.path.name != LONGEST)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(
    config: pytest.Config, log: Producer
) -> UnitTestsInOneProcess | None:
    """Replace what `--dist loadscope` means here."""
    return UnitTestsInOneProcess(config, log) if config.getvalue("dist") == "loadscope" else None


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run the tests of the queue on each kind of database that a node may have."""
    is_of_queue = metafunc.module.__name__.startswith("tests.node.queue.")
    if "engine" in metafunc.fixturenames and is_of_queue:
        kinds = ["sqlite", pytest.param("postgresql", marks=postgres.needs_postgresql)]
        metafunc.parametrize("engine", kinds, indirect=True)


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """Return the URL of a running PostgreSQL."""
    with postgres.server() as url:
        yield url


@pytest.fixture
def engine(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[sa.Engine]:
    """Return an empty database: SQLite unless a test is parametrised with another kind."""
    if getattr(request, "param", "sqlite") == "sqlite":
        yield schema.open_database(tmp_path / "a.sqlite")
        return
    url = request.getfixturevalue("postgresql")
    name = f"test_{uuid.uuid4().hex}"  # a separate schema is made far faster than a database
    server = sa.create_engine(url)
    with server.begin() as connection:
        connection.execute(sa.text(f"CREATE SCHEMA {name}"))
    opened = schema.open_database(f"{url}&options=-csearch_path%3D{name}")
    yield opened
    opened.dispose()
    with server.begin() as connection:
        connection.execute(sa.text(f"DROP SCHEMA {name} CASCADE"))
    server.dispose()


@pytest.fixture(scope="session")
def tiny_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of packages that holds tiny-mr."""
    folder = tmp_path_factory.mktemp("tiny") / "models"
    make_tiny_package(folder)
    return folder


@pytest.fixture
def configured(tmp_path: Path, tiny_models: Path) -> Path:
    """Return the configuration of a node that uses tiny-mr."""
    return configure(tmp_path / "node.yaml", tiny_models)


@pytest.fixture
def site(tmp_path: Path, tiny_models: Path) -> Site:
    """Return a data folder without any series."""
    return Site(tmp_path, tiny_models.parent)


@pytest.fixture
def head(tmp_path: Path) -> Scan:
    """Return a series whose files lie in the order of their slices."""
    return make(tmp_path / "head", Phantom(shuffle=False))
