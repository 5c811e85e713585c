"""Free space and inodes, and the kind of a file system."""

import os
from pathlib import Path

import pytest

from node import disk, schema
from node.config import DataConfig
from node.disk import Space
from node.errors import DiskLow, Misconfigured
from node.inbox import Inbox

GIB = 1 << 30
MOUNTS = """\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 22 0:40 / {place}/images rw shared:2 - nfs4 archive:/images rw,vers=4.2
31 22 0:41 / {place}/a\\040share rw - cifs //server/share rw
32 22 0:42 / {place}/auto rw - autofs systemd-1 rw
33 32 0:43 / {place}/auto rw shared:3 master:1 - nfs archive:/auto rw
34 30 8:2 / {place}/images/local rw - xfs /dev/sdb1 rw
"""


@pytest.mark.parametrize(
    ("folder", "kind"),
    [
        ("images/data", "nfs4"),
        ("a share", "cifs"),
        ("auto/x/y", "nfs"),
        ("images/local/data", ""),
        ("imagesx", ""),
        ("", ""),
    ],
)
def test_the_innermost_mount_decides(tmp_path: Path, folder: str, kind: str) -> None:
    (tmp_path / folder).mkdir(parents=True, exist_ok=True)
    mounts = MOUNTS.format(place=tmp_path)
    assert disk.network_file_system(tmp_path / folder / "new" / "file", mounts) == kind


def test_this_test_runs_on_a_local_disk(tmp_path: Path) -> None:
    assert disk.network_file_system(tmp_path) == ""


def test_sqlite_on_a_network_file_system_is_refused_with_postgresql_as_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk, "network_file_system", lambda _: "nfs4")
    with pytest.raises(Misconfigured, match="nfs4") as refused:
        schema.open_configured(DataConfig(dir=tmp_path))
    assert "PostgreSQL" in refused.value.advice
    assert not list(tmp_path.iterdir()), "nothing is created there"
    schema.open_database(schema.IN_MEMORY)


@pytest.mark.parametrize(
    ("free_bytes", "free_files", "coming", "is_short"),
    [
        (11 * GIB, 1_000_000, 0, False),
        (11 * GIB, None, 0, False),  # such as btrfs
        (11 * GIB, 1_000_000, 2 * GIB, True),
        (9 * GIB, 1_000_000, 0, True),
        (900 * GIB, 40_000, 0, True),
    ],
)
def test_inodes_are_watched_like_bytes(
    free_bytes: int, free_files: int | None, coming: int, *, is_short: bool
) -> None:
    assert bool(Space(free_bytes, free_files).shortage(10 * GIB, coming)) is is_short


def test_the_inbox_refuses_images_without_free_inodes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inbox = Inbox(tmp_path, stop_below_bytes=1 << 20)
    inbox.check_space()
    full = list(os.statvfs(tmp_path))
    full[7] = 3  # f_favail
    monkeypatch.setattr(os, "statvfs", lambda _: os.statvfs_result(full))
    with pytest.raises(DiskLow, match="3 inodes"):
        inbox.check_space()
