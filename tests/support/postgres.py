"""A real PostgreSQL for tests, on a socket in a temporary folder that is deleted afterwards."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support import processes

OWNER = "postgres"  # the server refuses to run as root; Debian's package makes this user
START_S = 240.0


def programs() -> Path | None:
    """Return the folder of the server's programs, which Debian does not put on the path."""
    newest = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if newest:
        return newest[-1].parent
    path = shutil.which("initdb")
    return None if path is None else Path(path).parent


needs_postgresql = pytest.mark.skipif(
    programs() is None, reason="PostgreSQL is not installed: see tests/support/system-packages.sh"
)


@contextmanager
def server() -> Iterator[str]:
    """Run a server; yield the URL of its database, which needs no password.

    It does not wait for the disk (`fsync=off`): tests check semantics, not durability.
    """
    bin_folder = programs()
    assert bin_folder is not None  # `needs_postgresql` has skipped
    folder = Path(tempfile.mkdtemp(prefix="segnode-pg-"))
    owner: dict[str, Any] = {"user": OWNER, "group": OWNER} if os.geteuid() == 0 else {}
    if owner:
        shutil.chown(folder, OWNER, OWNER)
    data = ["-D", str(folder / "data")]
    init = [str(bin_folder / "initdb"), *data, "--auth=trust", "--username=segnode"]
    subprocess.run(
        [*init, "--encoding=UTF8", "--no-sync"],
        check=True, capture_output=True, cwd=folder, **owner,
    )  # fmt: skip
    settings = ["-k", str(folder), "-c", "listen_addresses=", "-c", "fsync=off"]
    command = [str(bin_folder / "postgres"), *data, *settings, "-c", "max_connections=40"]
    with (folder / "log").open("wb") as log:
        process = processes.start(
            command, signal.SIGQUIT, stdout=log, stderr=log, cwd=folder, **owner
        )
    try:
        _wait(bin_folder, folder, process)
        yield f"postgresql+psycopg://segnode@/postgres?host={folder}"
    finally:
        processes.stop(process, signal.SIGQUIT)
        shutil.rmtree(folder, ignore_errors=True)


def _wait(bin_folder: Path, folder: Path, process: "subprocess.Popen[bytes]") -> None:
    """Wait until the server accepts connections."""
    is_ready = [str(bin_folder / "pg_isready"), "-h", str(folder)]
    until = time.monotonic() + START_S
    while time.monotonic() < until and process.poll() is None:
        if subprocess.run(is_ready, capture_output=True, check=False).returncode == 0:
            return
        time.sleep(0.1)
    log = (folder / "log").read_text(errors="replace")
    raise AssertionError(f"PostgreSQL did not start:\n{log[-2000:]}")
