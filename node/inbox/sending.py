"""Which open associations send images of which study now: files whose times are read.

Not fsynced: after a power loss, a missing file means that nothing is being sent.
"""

import hashlib
import time
from collections.abc import Iterable
from pathlib import Path

from node.inbox.markers import AssociationRecord

TOUCH_SECONDS = 0.25  # between two changes of the time, so that no image waits for one


def mark(folder: Path, association: AssociationRecord, study: str) -> None:
    """Record that `association` sent an image of `study` now."""
    path = _path(folder, association.id, study)
    now = time.monotonic()
    if now - association.sending.get(path, -TOUCH_SECONDS) >= TOUCH_SECONDS:
        association.sending[path] = now
        path.touch()


def end(association: AssociationRecord) -> None:
    """Forget an association that ended."""
    for path in association.sending:
        path.unlink(missing_ok=True)


def last_sent(folder: Path, associations: Iterable[str], study: str) -> float:
    """Return when one of `associations` last sent an image of `study`; 0 if none is open."""
    times = [0.0]
    for association in associations:
        try:
            times.append(_path(folder, association, study).stat().st_mtime)
        except FileNotFoundError:  # it ended, or sends other studies
            continue
    return max(times)


def _path(folder: Path, association: str, study: str) -> Path:
    return folder / f"{association}.{hashlib.sha256(study.encode()).hexdigest()[:32]}"
