"""The file of a backup: written while the node runs, and verified by digest.

A backup is a tar file, compressed with gzip. Its last member, `manifest.json`, has the SHA-256 of
every other one. The database is copied first: images that arrive later are then undecided, and are
decided after the restore.
"""

import contextlib
import gzip
import hashlib
import os
import re
import sqlite3
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import msgspec

from node import __version__, durable, schema
from node.config import Config
from node.database_faults import node_error
from node.errors import Misconfigured, NodeError

MANIFEST, CONFIG = "manifest.json", "node.yaml"
IMAGES = ("inbox", "outbox")  # folders that are included on request
# folders and files that the node makes again
TEMPORARY = ("changed", "compiled", "rehearsal", "tmp", "lock")
MEMBER = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*")
CHUNK = 1 << 20
LARGEST_TEXT = 256 << 20  # the list of the digests of a million images
UNREADABLE = (tarfile.TarError, EOFError, zlib.error, msgspec.MsgspecError, OSError)


class BadBackup(NodeError):
    """A backup is damaged, incomplete, or of another version."""

    code = "bad-backup"


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The last member of a backup: who made it, and the SHA-256 of every other member."""

    segnode: str
    schema: int
    with_images: bool
    digests: dict[str, str]


def write_backup(
    out: IO[bytes], config: Config, config_file: Path, database: Path, *, with_images: bool
) -> None:
    """Write a backup of the node to `out`.

    Raises:
        BadBackup, DatabaseDamaged, DatabaseBusy, DiskLow, DiskFault: as `_copy_database`.
    """
    data = config.data.dir
    digests: dict[str, str] = {}
    folder = tempfile.TemporaryDirectory(prefix=".backup-", dir=data)
    with folder as name, tarfile.open(fileobj=out, mode="w:gz", format=tarfile.PAX_FORMAT) as tar:
        copy = Path(name) / schema.FILE_NAME
        _copy_database(database, copy)
        _add(tar, copy, schema.FILE_NAME, digests)
        _add(tar, config_file, CONFIG, digests)
        for path in _files(data, database, with_images=with_images):
            with contextlib.suppress(FileNotFoundError):  # pruned, or renamed, meanwhile
                _add(tar, path, path.relative_to(data).as_posix(), digests)
        manifest = Manifest(__version__, schema.VERSION, with_images, digests)
        (Path(name) / MANIFEST).write_bytes(msgspec.json.encode(manifest))
        tar.add(Path(name) / MANIFEST, MANIFEST)


def _copy_database(database: Path, copy: Path) -> None:
    """Copy a database that may be in use, in one state, and check the copy.

    Raises:
        DatabaseDamaged, DatabaseBusy, DiskLow, DiskFault: of the database or its disk.
        BadBackup: the copy is damaged, hence the database too.
    """
    try:
        with (
            contextlib.closing(sqlite3.connect(database, timeout=30.0)) as source,
            contextlib.closing(sqlite3.connect(copy)) as target,
        ):
            source.backup(target)
            integrity = target.execute("PRAGMA integrity_check").fetchone()[0]
    except sqlite3.Error as exc:
        known = node_error(exc, f"the database {database}")
        raise known or _damaged(database) from exc
    if integrity != "ok":
        raise _damaged(database)


def _damaged(database: Path) -> BadBackup:
    message = f"the database {database} is damaged"
    return BadBackup(message, advice='See "A damaged database" in the runbook.')


def _files(data: Path, database: Path, *, with_images: bool) -> Iterator[Path]:
    """Yield the files of the data folder, without the database and what is made again."""
    skipped = {*TEMPORARY, *(() if with_images else IMAGES)}
    for folder, folders, names in os.walk(data):
        folders[:] = sorted(name for name in folders if _is_included(name, skipped))
        for name in sorted(names):
            path = Path(folder, name)
            of_database = path.name.startswith(database.name) and path.parent == database.parent
            if _is_included(name, skipped) and not of_database and not path.is_symlink():
                yield path


def _is_included(name: str, skipped: set[str]) -> bool:
    is_temporary = name.endswith(durable.TEMPORARY_SUFFIX)
    return name not in skipped and not is_temporary and MEMBER.fullmatch(name) is not None


def _add(tar: tarfile.TarFile, path: Path, name: str, digests: dict[str, str]) -> None:
    """Add a file; its digest is of the bytes that were written."""
    with path.open("rb") as file:
        info = tar.gettarinfo(arcname=name, fileobj=file)
        info.uid = info.gid = 0
        info.uname = info.gname = ""
        info.type = tarfile.REGTYPE  # a hard link would need its other name
        info.size = os.fstat(file.fileno()).st_size
        hashing = _Hashing(file)
        tar.addfile(info, hashing)
    digests[name] = hashing.sha256.hexdigest()


class _Hashing:
    """A file that is hashed while it is read."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self.sha256 = file, hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        """Read and hash up to `size` bytes."""
        part = self._file.read(size)
        self.sha256.update(part)
        return part


def verified(file: Path, into: Path | None = None) -> tuple[Manifest, bytes]:
    """Read a whole backup and compare its digests; extract it `into` a folder.

    Returns its manifest and the text of its configuration.

    Raises:
        BadBackup: it is damaged, incomplete, or no backup.
    """
    try:
        with gzip.open(file) as stream:
            with tarfile.open(fileobj=stream, mode="r:") as tar:
                digests, texts = _read(tar, into)
            while stream.read(CHUNK):  # to its end, where gzip has a checksum of everything
                pass
            manifest = msgspec.json.decode(texts.get(MANIFEST, b""), type=Manifest)
    except FileNotFoundError as exc:
        message = f"{file} does not exist"
        raise Misconfigured(message, advice="Give a file that `segnode backup` wrote.") from exc
    except UNREADABLE as exc:
        if isinstance(exc, OSError) and exc.errno is not None:
            raise  # a disk that is full, or denied access
        raise _bad(file, "it cannot be read to its end") from exc
    wrong = sorted(
        name
        for name in digests.keys() | manifest.digests.keys()
        if digests.get(name) != manifest.digests.get(name)
    )
    if wrong:
        raise _bad(file, f"{len(wrong)} files differ from its list, such as {wrong[0]}")
    return manifest, texts[CONFIG]


def _read(tar: tarfile.TarFile, into: Path | None) -> tuple[dict[str, str], dict[str, bytes]]:
    """Return the digests of the members, and the texts of two of them; extract the members."""
    digests: dict[str, str] = {}
    texts: dict[str, bytes] = {}
    for member in tar:
        content = tar.extractfile(member) if member.isfile() else None
        if content is None or not MEMBER.fullmatch(member.name):
            message = f"unexpected member {member.name!r}"
            raise tarfile.TarError(message)
        if member.name in (MANIFEST, CONFIG):
            texts[member.name] = content.read(LARGEST_TEXT)
            content.seek(0)
        if member.name == MANIFEST:
            continue
        hashing = _Hashing(content)
        with _target(into, member.name) as out:
            while part := hashing.read(CHUNK):
                out.write(part)
        if into is not None:
            os.utime(into / member.name, (member.mtime, member.mtime))
        digests[member.name] = hashing.sha256.hexdigest()
    return digests, texts


@contextlib.contextmanager
def _target(into: Path | None, name: str) -> Iterator[IO[bytes]]:
    if into is None:
        with open(os.devnull, "wb") as out:  # noqa: PTH123  no path
            yield out
        return
    path = into / name
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as out:
        yield out
        out.flush()
        os.fsync(out.fileno())


def _bad(file: Path, why: str) -> BadBackup:
    return BadBackup(f"{file} is no intact backup: {why}", advice="Use another backup.")
