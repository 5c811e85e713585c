"""`segnode backup` and `restore`, on a real database and inbox, while others write."""

import io
import tarfile
import threading
from pathlib import Path

import pytest
import yaml

from node import queue, schema
from node.config import load
from node.identifiers import KEY_FILE, open_identifiers
from node.inbox import Inbox
from tests.support.commanding import Run
from tests.support.phantoms import Phantom, make
from tests.support.received import receive
from tests.support.rows import T0, a_segment_job, an_arrival, record


@pytest.fixture
def used(configured: Path, tmp_path: Path) -> Path:
    """Return the configuration of a node with one job, one series in the inbox and a key."""
    config = load(configured)
    engine = schema.open_configured(config.data)
    record(engine)
    engine.dispose()
    open_identifiers(config.data)
    receive(Inbox(config.data.dir / "inbox"), make(tmp_path / "head", Phantom()).paths, T0)
    (config.data.dir / "measured").mkdir()
    (config.data.dir / "measured/one.json").write_text("{}")
    (config.data.dir / "compiled").mkdir()
    (config.data.dir / "compiled/network").write_text("large")
    return configured


def names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("with_images", [False, True])
def test_a_backup_is_restored_into_an_empty_folder(
    run: Run, used: Path, tmp_path: Path, with_images: bool
) -> None:
    file, data = tmp_path / "backup.tar.gz", load(used).data.dir
    options = ["--images"] if with_images else []
    status, printed, errors = run("backup", file, *options, "--config", used)
    assert (status, errors) == (0, "")
    assert "every digest verified" in printed
    assert file.stat().st_mode & 0o077 == 0, "as private as the images"
    place = tmp_path / "elsewhere" / "node.yaml"
    place.parent.mkdir()
    status, printed, errors = run("restore", file, "--config", place)
    assert (status, errors) == (0, "")
    assert place.read_bytes() == used.read_bytes()
    restored = load(place).data.dir
    expected = {"segnode.sqlite", KEY_FILE, "measured/one.json"}
    if with_images:
        expected |= {n for n in names(data) if n.startswith("inbox/series")}
    assert names(restored) == expected
    for name in expected - {"segnode.sqlite"}:
        assert (restored / name).read_bytes() == (data / name).read_bytes()
        assert (restored / name).stat().st_mtime == pytest.approx((data / name).stat().st_mtime)
    engine = schema.open_configured(load(place).data)
    assert len(queue.histories(engine)) == 1
    status, _, errors = run("restore", file, "--config", place)
    assert status == 78
    assert "is not empty" in errors


def test_a_backup_is_one_state_of_a_database_that_is_written(
    run: Run, used: Path, tmp_path: Path
) -> None:
    engine, stop = schema.open_configured(load(used).data), threading.Event()

    def write() -> None:
        for number in range(2, 10_000):
            if stop.is_set():
                return
            queue.record_arrival(engine, an_arrival(number), a_segment_job(number), T0)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for number in range(2):
            file, place = tmp_path / f"{number}.tar.gz", tmp_path / f"{number}" / "node.yaml"
            place.parent.mkdir()
            assert run("backup", file, "--config", used)[0] == 0
            assert run("restore", file, "--config", place)[0] == 0
            restored = schema.open_configured(load(place).data)
            histories = queue.histories(restored)
            assert {h.arrival.job_id for h in histories} == {
                job.id for job in queue.list_jobs(restored, limit=100_000)
            }
            restored.dispose()
    finally:
        stop.set()
        writer.join()


def test_a_damaged_backup_is_refused_and_changes_nothing(
    run: Run, used: Path, tmp_path: Path
) -> None:
    file, place = tmp_path / "backup.tar.gz", tmp_path / "b" / "node.yaml"
    place.parent.mkdir()
    assert run("backup", file, "--config", used)[0] == 0
    whole = file.read_bytes()
    damaged = {
        "cut": whole[: len(whole) // 2],
        "empty": b"",
        "no archive": b"x" * 1000,
        "flipped": whole[:200] + bytes([whole[200] ^ 1]) + whole[201:],
        "altered": altered(file, "node.yaml", b"callers: any\n"),
        "extra": altered(file, "other.txt", b"x"),
        "outside": altered(file, "../outside", b"x"),
        "absolute": altered(file, "/tmp/outside", b"x"),
    }
    for name, content in damaged.items():
        file.write_bytes(content)
        status, _, errors = run("restore", file, "--config", place)
        assert status == 1, name
        assert "no intact backup" in errors, name
        assert list(place.parent.iterdir()) == [], name
    file.unlink()
    assert run("restore", file, "--config", place)[0] == 78


def altered(file: Path, name: str, content: bytes) -> bytes:
    """Return a backup with another content of one member, or with one more."""
    out = io.BytesIO()
    with tarfile.open(file) as old, tarfile.open(fileobj=out, mode="w:gz") as new:
        for member in old:
            body = old.extractfile(member)
            if member.name != name:
                new.addfile(member, body)
        info = tarfile.TarInfo(name)
        info.size = len(content)
        new.addfile(info, io.BytesIO(content))
    return out.getvalue()


def test_nothing_is_overwritten(run: Run, used: Path, tmp_path: Path) -> None:
    file = tmp_path / "backup.tar.gz"
    assert run("backup", file, "--config", used)[0] == 0
    status, _, errors = run("backup", file, "--config", used)
    assert status == 78
    assert "exists" in errors
    assert run("backup", file, "--force", "--config", used)[0] == 0
    inside = load(used).data.dir / "backup.tar.gz"
    assert "lies in the data folder" in run("backup", inside, "--config", used)[2]
    inbox = Inbox(load(used).data.dir / "inbox")
    inbox.recover(T0)
    status, _, errors = run("restore", file, "--config", used)
    inbox.release()
    assert status == 78
    assert "a node is running" in errors


def test_postgresql_is_refused_with_its_own_tools(run: Run, used: Path, tmp_path: Path) -> None:
    content = yaml.safe_load(used.read_text())
    content["data"]["database"] = "postgresql+psycopg://node:secret@db/node"
    used.write_text(yaml.safe_dump(content))
    status, _, errors = run("backup", tmp_path / "x.tar.gz", "--config", used)
    assert status == 78
    assert "pg_dump" in errors
    assert "secret" not in errors
    assert not (tmp_path / "x.tar.gz").exists()


def test_a_damaged_database_is_not_backed_up(run: Run, used: Path, tmp_path: Path) -> None:
    database = load(used).data.dir / schema.FILE_NAME
    content = bytearray(database.read_bytes())
    content[4096:8192] = b"x" * 4096
    database.write_bytes(content)
    status, _, errors = run("backup", tmp_path / "x.tar.gz", "--config", used)
    assert status != 0
    assert "damaged" in errors
    assert not (tmp_path / "x.tar.gz").exists()
