"""Decide which instances of a storage commitment request are kept durably."""

from collections.abc import Collection
from pathlib import Path

from node.commitment import FailureReason, Reference, Report, Request
from node.dicom.file_meta import HEAD_BYTES, sop_class_of
from node.inbox.folder import kept_files
from node.inbox.keys import sop_key
from node.inbox.store import Inbox


def report_on(request: Request, inbox: Inbox) -> Report:
    """Return the report: committed is what the inbox keeps at this moment, with the same class."""
    stored_paths = _stored_paths(
        inbox, {reference.sop_instance for reference in request.references}
    )
    committed: list[Reference] = []
    failed: list[tuple[Reference, int]] = []
    for reference in request.references:
        reason = _failure(reference, stored_paths.get(reference.sop_instance))
        if reason is None:
            committed.append(reference)
        else:
            failed.append((reference, reason))
    return Report(request.transaction, tuple(committed), tuple(failed))


def _stored_paths(inbox: Inbox, sop_instances: Collection[str]) -> dict[str, Path]:
    """Return a kept file of each of these instances; an instance that is not kept is absent.

    The series that changed last are searched first, so that what just arrived is found soon.
    """
    by_key = {sop_key(uid): uid for uid in sop_instances}
    paths: dict[str, Path] = {}
    for series in sorted(inbox.series_folders(), key=lambda series: -series.mtime_ns):
        if len(paths) == len(by_key):
            break
        for sop, path in kept_files(series.path):
            if sop in by_key:
                paths[by_key[sop]] = path
    return paths


def _failure(reference: Reference, path: Path | None) -> FailureReason | None:
    if path is None:
        return FailureReason.NO_SUCH_OBJECT_INSTANCE
    try:
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
    except FileNotFoundError:  # pruned meanwhile
        return FailureReason.NO_SUCH_OBJECT_INSTANCE
    except OSError:
        return FailureReason.PROCESSING_FAILURE
    is_same = sop_class_of(head) == reference.sop_class
    return None if is_same else FailureReason.CLASS_INSTANCE_CONFLICT
