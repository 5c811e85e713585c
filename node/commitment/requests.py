"""Requests of callers that wait for their report, as files.

A request is `open` while the association that made it may carry the report; the listener reports
there. It is `due` afterwards; the sender reports on a new association.
"""

import hashlib
from pathlib import Path

import msgspec

from node import durable
from node.commitment.messages import Request

MOST_PENDING = 100  # requests of one caller
LEFTOVER_S = 3600.0  # an unfinished file of this age has no writer
OPEN, DUE = ".open", ".due"


class CallerRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One request, and its caller; times are in unix seconds."""

    request: Request
    calling_ae: str
    host: str  # from which the request came
    received: float
    attempts: int = 0  # to report on a new association
    not_before: float = 0.0


class CallerRequests:
    """The folder of requests: the listener adds, listener and sender report and drop."""

    def __init__(self, data: Path) -> None:
        """Use the data folder `data`."""
        self._folder = data / "commitment" / "requests"
        durable.make_folder(self._folder)

    def add(self, pending: CallerRequest) -> bool:
        """Write a request durably, as open; return False if too many of its caller wait.

        Raises:
            OSError: the disk is full or failing.
        """
        path = self._path(pending, OPEN)
        known = {other.stem for other in self._folder.glob(f"{_caller_key(pending)}.*")}
        if path.stem not in known and len(known) >= MOST_PENDING:
            return False
        durable.write(path, msgspec.json.encode(pending))
        return True

    def make_due(self, pending: CallerRequest) -> None:
        """Let the sender report: the association of the request has ended."""
        path = self._path(pending, OPEN)
        if path.exists():
            durable.publish(path, path.with_suffix(DUE))

    def make_all_due(self) -> None:
        """Let the sender report the requests of a previous listener; remove unfinished files."""
        durable.remove_leftovers(self._folder, LEFTOVER_S)
        for path in self._folder.glob(f"*{OPEN}"):
            durable.publish(path, path.with_suffix(DUE))

    def due(self) -> list[CallerRequest]:
        """Return the requests whose association has ended, the oldest first."""
        requests = []
        for path in self._folder.glob(f"*{DUE}"):
            try:
                requests.append(msgspec.json.decode(path.read_bytes(), type=CallerRequest))
            except FileNotFoundError:  # made again by its caller, on a new association
                continue
            except msgspec.MsgspecError:  # of another version
                path.unlink(missing_ok=True)
        return sorted(requests, key=lambda pending: pending.received)

    def put_off(self, pending: CallerRequest) -> None:
        """Record another attempt of a due request."""
        durable.write(self._path(pending, DUE), msgspec.json.encode(pending))

    def drop(self, pending: CallerRequest) -> None:
        """Delete a request that was reported, or that nobody will report."""
        for suffix in (OPEN, DUE):
            self._path(pending, suffix).unlink(missing_ok=True)

    def _path(self, pending: CallerRequest, suffix: str) -> Path:
        transaction = hashlib.sha256(pending.request.transaction.encode()).hexdigest()[:32]
        return self._folder / f"{_caller_key(pending)}.{transaction}{suffix}"


def _caller_key(pending: CallerRequest) -> str:
    return hashlib.sha256(pending.calling_ae.encode()).hexdigest()[:16]
