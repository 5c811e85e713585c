"""The time zone in which the dates and times of a dataset are meant (PS3.3 C.12.1.1).

Promises: a result is dated as its study is, so that both agree in worklists and viewers.
"""

import datetime

from pydicom.dataset import Dataset


def declared_zone(dataset: Dataset) -> datetime.tzinfo | None:
    """Return the zone that `dataset` names; None where it names none, or nonsense."""
    try:
        named = str(dataset.get("TimezoneOffsetFromUTC") or "")
        return datetime.datetime.strptime(named, "%z").tzinfo
    except ValueError:
        return None


def in_zone_of(dataset: Dataset, moment: datetime.datetime) -> datetime.datetime:
    """Express `moment`, to the second, as the dates and times of `dataset` are meant.

    That is in the zone that it names. Scanners that name none write local time, so then it is the
    local time of this machine (the `TZ` of the process).

    Raises:
        ValueError: `moment` has no time zone.
    """
    if moment.tzinfo is None:
        message = "the time of creation needs a time zone"
        raise ValueError(message)
    return moment.astimezone(declared_zone(dataset)).replace(microsecond=0)
