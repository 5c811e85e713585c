"""A damaged database ends the node with 78, and the runbook cures it; other faults pass."""

import json
import logging
import re
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa

from node import database_faults, schema
from node.errors import DatabaseBusy, DatabaseDamaged, DiskFault, DiskLow, NodeError
from node.fault_log import LONGEST_PAUSE_S, FaultLog
from node.schema import opening
from tests.support.commanding import configure
from tests.support.running import segnode, wait_until

RUNBOOK = Path(__file__).parents[2] / "docs/how-to/runbook.md"
WITHIN_S = 240.0


def serve(file: Path) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "node", "serve", "--config", str(file)]
    with (file.parent / "log").open("ab") as log:
        return subprocess.Popen(command, stderr=log)


def runs(file: Path) -> bool:
    return segnode("status", "--config", str(file)).returncode == 0


def damage(database: Path) -> None:
    """Overwrite every page but the first, as a failing disk may do."""
    page = 4096
    size = database.stat().st_size
    assert size > 4 * page
    with database.open("r+b") as file:
        file.seek(page)
        file.write(b"\x5a" * (size - page))


@pytest.mark.timeout(1200)
def test_a_damaged_database_ends_a_running_node_and_the_cure_of_the_runbook_works(
    tmp_path: Path,
) -> None:
    file = configure(tmp_path / "node.yaml", tmp_path, rules=[])
    data = tmp_path / "data"
    data.mkdir()
    schema.open_database(data / schema.FILE_NAME).dispose()  # complete in the file, not in -wal
    node = serve(file)
    try:
        wait_until(lambda: runs(file), describe=lambda: "it does not start")
        damage(data / schema.FILE_NAME)
        assert node.wait(WITHIN_S) == 78
    finally:
        node.kill()
        node.wait()
    text = (tmp_path / "log").read_text(encoding="utf-8").splitlines()
    lines = [json.loads(line) for line in text if line.startswith("{")]
    assert "database-damaged" in {line.get("code") for line in lines}
    again = segnode("serve", "--config", str(file))
    assert again.returncode == 78, "another start does not hide it"

    section = RUNBOOK.read_text(encoding="utf-8").partition("### A damaged database")[2]
    cure = re.search(r"```\n(.*?)```", section, re.DOTALL)
    assert cure is not None
    subprocess.run(cure[1], shell=True, cwd=data, check=True)
    node = serve(file)
    try:
        wait_until(lambda: runs(file), describe=lambda: "the cure does not work")
    finally:
        node.terminate()
        node.wait(240)


def test_a_command_on_a_damaged_database_ends_with_78(tmp_path: Path) -> None:
    file = configure(tmp_path / "node.yaml", tmp_path, rules=[])
    (tmp_path / "data").mkdir()
    schema.open_database(tmp_path / "data" / schema.FILE_NAME).dispose()
    damage(tmp_path / "data" / schema.FILE_NAME)
    done = segnode("status", "--config", str(file))
    assert done.returncode == 78, done.stderr
    assert "damaged" in done.stderr


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("SQLITE_CORRUPT_INDEX", DatabaseDamaged),
        ("SQLITE_NOTADB", DatabaseDamaged),
        ("SQLITE_FULL", DiskLow),
        ("SQLITE_IOERR_FSYNC", DiskFault),
        ("SQLITE_READONLY_DBMOVED", DiskFault),
        ("SQLITE_BUSY_SNAPSHOT", DatabaseBusy),
        ("SQLITE_CONSTRAINT_UNIQUE", None),
        ("XX001", DatabaseDamaged),
        ("53100", DiskLow),
        ("23505", None),
    ],
)
def test_every_fault_of_a_driver_has_its_own_code(code: str, kind: type[NodeError] | None) -> None:
    error = Exception("text of the driver")
    name = "sqlite_errorname" if code.startswith("SQLITE") else "sqlstate"
    setattr(error, name, code)
    known = database_faults.node_error(error, "the database x")
    assert (None if known is None else type(known)) is kind


def test_a_statement_on_a_locked_database_raises_the_error_of_the_node(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "BUSY_TIMEOUT_S", 0.05)
    first, second = (schema.open_database(tmp_path / "a.sqlite") for _ in range(2))
    with first.begin(), pytest.raises(DatabaseBusy), second.begin():
        pass
    with pytest.raises(sa.exc.OperationalError), second.begin() as connection:
        connection.execute(sa.text("SELECT * FROM nowhere"))  # a defect, not a fault


def test_a_lasting_fault_is_logged_once_and_tried_with_growing_pauses(
    caplog: pytest.LogCaptureFixture,
) -> None:
    faults = FaultLog(logging.getLogger("node.test"), "sweep")
    caplog.set_level("INFO", "node.test")
    pauses = [faults.failed(DatabaseBusy("locked")) for _ in range(20)]
    assert pauses[:4] == [1.0, 2.0, 4.0, 8.0]
    assert pauses[-1] == LONGEST_PAUSE_S
    faults.failed(OSError(28, "No space left on device"))
    faults.worked()
    faults.worked()
    codes = [record.code for record in caplog.records]  # type: ignore[attr-defined]
    assert codes == ["database-busy", "disk-low", "disk-low"]
