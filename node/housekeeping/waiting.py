"""Series that are not decided yet, and the reason."""

from dataclasses import dataclass

from node.inbox import SeriesFolder, read_series


@dataclass(frozen=True)
class Waiting:
    """A series that is not decided yet."""

    study_uid: str
    series_uid: str
    instances: int
    caller_ae: str
    why: str
    until: float | None  # time of the decision if nothing else arrives; None: at once


def unreadable(folder: SeriesFolder, why: str) -> Waiting | None:
    """Return a series whose images cannot be read for now; None if the folder has no record."""
    record = read_series(folder.path)
    if record is None:
        return None
    reason = f"its images cannot be read for now: {why}; the node tries again"
    return Waiting(record.study, record.series, 0, "", reason, None)
