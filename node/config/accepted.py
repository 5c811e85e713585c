"""The accepted configuration: the text that the running node checked, and which process uses it.

`segnode serve` accepts the configuration file at its start, `segnode reload` a changed one. The
accepted text is one file in the data folder, so every process takes it whole or not at all, and a
process that restarts is not disturbed by a file that a person is editing.
"""

import hashlib
import logging
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from node import durable
from node.config.read import load_text
from node.config.structs import Config
from node.errors import Misconfigured, NodeError

FOLDER = "configuration"  # in the data folder
ACCEPTED = "accepted.json"
SHOWN = 12  # digits of a digest that people see
log = logging.getLogger("node.config")


class Accepted(msgspec.Struct, frozen=True, kw_only=True):
    """A configuration as it was accepted."""

    text: str
    file: str  # where it was read; relative paths in it are relative to the folder of this file
    at: float  # Unix seconds
    by: str  # who accepted it, as in the history

    @property
    def digest(self) -> str:
        """The first digits of the SHA-256 of the text."""
        return digest_of(self.text)

    def config(self) -> Config:
        """Return the configuration.

        Raises:
            Misconfigured: another version of the node accepted it.
        """
        return load_text(self.text, self.file, Path(self.file).parent)


class AcceptedState(msgspec.Struct, frozen=True):
    """An accepted configuration without its text, which may hold secrets."""

    digest: str
    at: float  # Unix seconds
    by: str  # who accepted it


class InUse(msgspec.Struct, frozen=True, kw_only=True):
    """The configuration that one process uses."""

    digest: str
    since: float  # Unix seconds


def digest_of(text: str) -> str:
    """Return the first digits of the SHA-256 of a configuration's text."""
    return hashlib.sha256(text.encode()).hexdigest()[:SHOWN]


def accept(data: Path, accepted: Accepted) -> None:
    """Let every process of the node with the data folder `data` use this configuration.

    Raises:
        OSError: the disk is full, or the folder cannot be written to.
    """
    durable.make_folder(data / FOLDER)
    durable.write(data / FOLDER / ACCEPTED, msgspec.json.encode(accepted))


def accepted_in(data: Path) -> Accepted | None:
    """Return the accepted configuration; None if there is none, or if its file is damaged."""
    try:
        return msgspec.json.decode((data / FOLDER / ACCEPTED).read_bytes(), type=Accepted)
    except (OSError, msgspec.MsgspecError):
        return None


def accepted_state(data: Path) -> AcceptedState | None:
    """Return which configuration is accepted; None as for `accepted_in`."""
    known = accepted_in(data)
    return None if known is None else AcceptedState(known.digest, known.at, known.by)


def in_use(data: Path) -> dict[str, InUse]:
    """Return the configuration that each process used last, by the name of the process."""
    known = {}
    for file in sorted((data / FOLDER).glob("*.json")):
        if file.name != ACCEPTED:
            try:
                known[file.stem] = msgspec.json.decode(file.read_bytes(), type=InUse)
            except (OSError, msgspec.MsgspecError):
                continue  # written again when the process starts
    return known


class RunningConfig:
    """The configuration that one process uses; it follows what is accepted."""

    def __init__(self, config: Config, process: str = "", digest: str = "") -> None:
        """Begin with `config`; only a configuration that is accepted later replaces it.

        `process` names the process in `in_use`; without it nothing is recorded.
        """
        self.config, self._process, self._digest = config, process, digest
        self._data = config.data.dir
        self._followed = _signature(self._data)
        self._record()

    @classmethod
    def of_node(cls, data: Path, process: str) -> "RunningConfig":
        """Begin with the accepted configuration of a node.

        Raises:
            Misconfigured: none is accepted.
        """
        signature = _signature(data)  # first: what is accepted from here on is followed
        accepted = accepted_in(data)
        if accepted is None:
            message = f"{data / FOLDER / ACCEPTED} cannot be read"
            raise Misconfigured(message, advice="Start the node again with `segnode serve`.")
        running = cls(accepted.config(), process, accepted.digest)
        running._followed = signature
        return running

    def follow(self, prepare: Callable[[Config], None] = lambda _: None) -> bool:
        """Use a configuration that was accepted since; return whether there was one.

        `prepare` makes what depends on it. If that fails, the process goes on with the earlier
        configuration. Call this from one thread, between two pieces of work; other threads may read
        `config` at any time.
        """
        signature = _signature(self._data)
        if signature == self._followed:
            return False
        self._followed = signature
        accepted = accepted_in(self._data)
        if accepted is None or accepted.digest == self._digest:
            return False
        try:
            config = accepted.config()
            prepare(config)
        except (NodeError, OSError) as exc:
            log.error(  # noqa: TRY400  a message without a traceback
                "configuration %s cannot be used, %s goes on: %s",
                accepted.digest, self._digest or "the earlier one", exc,
                extra={"stage": self._process},
            )  # fmt: skip
            return False
        self.config, self._digest = config, accepted.digest
        self._record()
        log.info("configuration %s is used", self._digest, extra={"stage": self._process})
        return True

    def _record(self) -> None:
        if self._process and self._digest:
            durable.make_folder(self._data / FOLDER)
            used = InUse(digest=self._digest, since=time.time())
            durable.write(self._data / FOLDER / f"{self._process}.json", msgspec.json.encode(used))


def _signature(data: Path) -> tuple[int, int, int] | None:
    """Return what changes whenever the file of the accepted configuration is replaced."""
    try:
        status = (data / FOLDER / ACCEPTED).stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_ino, status.st_size
