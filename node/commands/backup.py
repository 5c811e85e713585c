"""`segnode backup` and `restore`: configuration, database and hash key in one verified file."""

import argparse
import shutil
import tempfile
from pathlib import Path

from node import durable, schema, status
from node.commands.backup_file import CONFIG, BadBackup, verified, write_backup
from node.commands.options import add_config, load_config
from node.commands.terminal import say
from node.config import Config, load
from node.errors import Misconfigured


def add_to(commands: argparse._SubParsersAction) -> None:  # type: ignore[type-arg]
    """Add `backup` and `restore` to the command line."""
    backup = commands.add_parser(
        "backup",
        help="write configuration, database and hash key into one file; the node may run",
        description="Write one verified file. Images and results are included with --images only. "
        "Keys and certificates of TLS are never included.",
    )
    backup.add_argument("file", type=Path, help="the file to write, like segnode.tar.gz")
    backup.add_argument("--images", action="store_true", help="received images and results too")
    backup.add_argument("--force", action="store_true", help="replace an existing file")
    add_config(backup)
    backup.set_defaults(run=_backup)
    restore = commands.add_parser(
        "restore",
        help="restore a backup into an empty data folder",
        description="Restore a backup into the empty data folder of the configuration. The "
        "configuration itself is restored if --config names a file that does not exist.",
    )
    restore.add_argument("file", type=Path, help="a file that `segnode backup` wrote")
    add_config(restore)
    restore.set_defaults(run=_restore)


def _backup(chosen: argparse.Namespace) -> int:
    config = load_config(chosen)
    database = _database_file(config)
    if not database.exists():
        message = f"there is no database {database}"
        raise Misconfigured(message, advice="Start the node once, or correct data.dir.")
    if chosen.file.resolve().is_relative_to(config.data.dir):
        message = f"{chosen.file} lies in the data folder, which it is a backup of"
        raise Misconfigured(message, advice="Write it to another folder, best on another disk.")
    if chosen.file.exists() and not chosen.force:
        message = f"{chosen.file} exists"
        raise Misconfigured(message, advice="Give another name, or --force to replace it.")
    with durable.replacing(chosen.file) as out:
        write_backup(out, config, chosen.config, database, with_images=chosen.images)
    manifest, _ = verified(chosen.file)
    size = chosen.file.stat().st_size / 1e6
    say(f"{chosen.file}: {len(manifest.digests)} files, {size:.1f} MB, every digest verified")
    return 0


def _restore(chosen: argparse.Namespace) -> int:
    manifest, config_text = verified(chosen.file)
    if manifest.schema != schema.VERSION:
        message = f"{chosen.file} has schema version {manifest.schema}, not {schema.VERSION}"
        advice = f"Restore it with segnode {manifest.segnode}, which wrote it."
        raise BadBackup(message, advice=advice)
    is_new = not chosen.config.exists()
    if is_new:
        durable.write(chosen.config, config_text)
    try:
        config = load(chosen.config)
        _refuse_busy(config)
        _put(chosen.file, config)
    except Exception:
        if is_new:
            chosen.config.unlink()
        raise
    outcome = "restored" if is_new else "kept; the one of the backup was not used"
    say(f"{config.data.dir}: {len(manifest.digests) - 1} files restored, every digest verified")
    say(f"{chosen.config}: {outcome}")
    return 0


def _refuse_busy(config: Config) -> None:
    """Check that nothing is overwritten.

    Raises:
        Misconfigured: a node runs, or the data folder or the database is not empty.
    """
    data = config.data.dir
    if status.listens(data / "inbox"):
        message = f"a node is running in {data}"
        raise Misconfigured(message, advice="Stop it, and restore into an empty folder.")
    database = _database_file(config)
    is_used = data.exists() and any(path.name != "lost+found" for path in data.iterdir())
    if is_used or database.exists():
        message = f"{data if is_used else database} is not empty"
        raise Misconfigured(message, advice="Move its content away, or name another data.dir.")


def _put(file: Path, config: Config) -> None:
    """Extract a backup beside its places, and move the files there; the database comes last."""
    data, database = config.data.dir, _database_file(config)
    durable.make_folder(data)
    with tempfile.TemporaryDirectory(prefix=".restore-", dir=data) as name:
        staged = Path(name)
        verified(file, staged)
        for path in sorted(staged.iterdir()):
            if path.name not in (schema.FILE_NAME, CONFIG):
                durable.publish(path, data / path.name)
        durable.make_folder(database.parent)  # may be on another disk: copied, not renamed
        with (staged / schema.FILE_NAME).open("rb") as source, durable.replacing(database) as out:
            shutil.copyfileobj(source, out)


def _database_file(config: Config) -> Path:
    """Return the file of the SQLite database.

    Raises:
        Misconfigured: the database is not SQLite.
    """
    if not config.data.database:
        return config.data.dir / schema.FILE_NAME
    url = schema.parse_url(config.data.database)
    if url.get_backend_name() != "sqlite" or not url.database:
        message = f"data.database is {url.get_backend_name()}, which segnode does not back up"
        advice = "Use pg_dump and pg_restore for it, and copy node.yaml and identifiers.key."
        raise Misconfigured(message, advice=advice)
    return Path(url.database)
