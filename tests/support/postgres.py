"""A PostgreSQL of the tests' own: real, on a socket in a folder, gone afterwards."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

OWNER = "postgres"  # the server refuses to run as root; Debian's package makes this user


def programs() -> Path | None:
    """Return the folder of the server's programs, which Debian does not put on the path."""
    newest = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if newest:
        return newest[-1].parent
    found = shutil.which("initdb")
    return None if found is None else Path(found).parent


needs_postgresql = pytest.mark.skipif(
    programs() is None, reason="PostgreSQL is not installed: see tests/support/system-packages.sh"
)


@contextmanager
def server() -> Iterator[str]:
    """Run a server; yield the URL of its database, which needs no password.

    It forgets at a power cut what it has confirmed: tests ask it for semantics, not for durability.
    """
    bin_folder = programs()
    assert bin_folder is not None  # `needs_postgresql` has skipped
    folder = Path(tempfile.mkdtemp(prefix="segnode-pg-"))
    owner = {"user": OWNER, "group": OWNER} if os.geteuid() == 0 else {}
    if owner:
        shutil.chown(folder, OWNER, OWNER)

    def run(program: str, *words: str) -> None:
        command = [str(bin_folder / program), "-D", str(folder / "data"), *words]
        subprocess.run(command, check=True, capture_output=True, cwd=folder, **owner)  # type: ignore[call-overload]

    run("initdb", "--auth=trust", "--username=segnode", "--encoding=UTF8", "--no-sync")
    settings = f"-k {folder} -c listen_addresses= -c fsync=off -c max_connections=40"
    try:
        run("pg_ctl", "start", "--wait", "--log", str(folder / "log"), "-o", settings)
        yield f"postgresql+psycopg://segnode@/postgres?host={folder}"
    finally:
        run("pg_ctl", "stop", "--mode=immediate")
        shutil.rmtree(folder, ignore_errors=True)
