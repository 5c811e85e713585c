"""Durable writes: a file has its old or its new content, whatever happens in between."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from node import durable

OLD, NEW = b"old content", b"new content"


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Record the path of everything that is fsynced."""
    paths: list[str] = []
    fsync = os.fsync

    def record(descriptor: int) -> None:
        paths.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", record)
    return paths


def in_child(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run `code` in a fresh process, where `path` is a file with old content."""
    (folder / "file").write_bytes(OLD)
    head = (
        "import os, resource, signal, sys; from pathlib import Path; from node import durable\n"
        "path = Path(sys.argv[1]) / 'file'\n"
    )
    return subprocess.run(
        [sys.executable, "-c", head + code, str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )


def test_write_replaces_the_content_and_leaves_no_temporary_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    durable.write(path, OLD)
    durable.write(path, NEW)
    assert path.read_bytes() == NEW
    assert list(tmp_path.iterdir()) == [path]


def test_the_file_is_fsynced_before_the_folder_of_its_final_name(
    tmp_path: Path, synced: list[str]
) -> None:
    scratch, folder = tmp_path / "scratch", tmp_path / "folder"
    scratch.mkdir()
    folder.mkdir()
    durable.write(folder / "file", NEW, scratch)
    file, of_folder = synced
    assert Path(file).parent == scratch
    assert Path(of_folder) == folder


@pytest.mark.parametrize(
    "code",
    [
        "with durable.replacing(path) as file:\n"
        "    file.write(b'new'); file.flush(); os.kill(os.getpid(), signal.SIGKILL)\n",
        "with durable.temporary(path.parent, b'new') as temporary:\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n",
    ],
    ids=["while writing", "before the rename"],
)
def test_a_kill_leaves_the_old_content(tmp_path: Path, code: str) -> None:
    done = in_child(code, tmp_path)
    assert done.returncode == -signal.SIGKILL
    assert (tmp_path / "file").read_bytes() == OLD
    assert len(list(tmp_path.iterdir())) == 2
    durable.remove_leftovers(tmp_path)
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]


@pytest.mark.parametrize(
    "code",
    [
        "durable.write(path, bytes(1 << 20))",
        "with durable.temporary(path.parent, bytes(1 << 20)) as temporary:\n"
        "    durable.publish(temporary, path)\n",
    ],
    ids=["write", "temporary"],
)
def test_a_failed_write_leaves_the_old_content_and_no_temporary_file(
    tmp_path: Path, code: str
) -> None:
    limit = (
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
    )
    done = in_child(limit + code, tmp_path)
    assert "OSError" in done.stderr
    assert (tmp_path / "file").read_bytes() == OLD
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]


def test_a_block_that_raises_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "file"
    durable.write(path, OLD)
    with pytest.raises(TypeError), durable.replacing(path) as file:
        file.write(None)  # type: ignore[call-overload]
    assert path.read_bytes() == OLD
    assert list(tmp_path.iterdir()) == [path]


def test_a_temporary_file_loses_its_temporary_name(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with durable.temporary(tmp_path, b"new ", b"content") as temporary:
        path.hardlink_to(temporary)
    assert path.read_bytes() == NEW
    assert list(tmp_path.iterdir()) == [path]


def test_each_created_folder_is_made_durable_in_its_parent(
    tmp_path: Path, synced: list[str]
) -> None:
    durable.make_folder(tmp_path / "a" / "b")
    assert [Path(path) for path in synced] == [tmp_path, tmp_path / "a"]
    durable.make_folder(tmp_path / "a" / "b")
    assert Path(synced[-1]) == tmp_path / "a"
