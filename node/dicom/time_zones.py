"""The time zone of the dates and times of a dataset (PS3.3 C.12.1.1).

A result is dated in the zone of its study, so that both agree in worklists and viewers.
"""

import datetime

from pydicom.dataset import Dataset


def declared_zone(dataset: Dataset) -> datetime.tzinfo | None:
    """Return the zone that `dataset` declares; None if it declares none, or an invalid one."""
    try:
        declared = str(dataset.get("TimezoneOffsetFromUTC") or "")
        return datetime.datetime.strptime(declared, "%z").tzinfo
    except ValueError:
        return None


def in_zone_of(dataset: Dataset, moment: datetime.datetime) -> datetime.datetime:
    """Convert `moment` to the time zone of `dataset`, in whole seconds.

    Scanners that declare no zone write local time; then the local zone of this process (`TZ`) is
    used.

    Raises:
        ValueError: `moment` has no time zone.
    """
    if moment.tzinfo is None:
        message = "the time of creation needs a time zone"
        raise ValueError(message)
    return moment.astimezone(declared_zone(dataset)).replace(microsecond=0)
