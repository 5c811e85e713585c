"""Times of results are given in the zone of their study."""

import datetime

import pytest
from pydicom.dataset import Dataset

from node.dicom.time_zones import declared_zone, in_zone_of

NOON = datetime.datetime(2026, 3, 1, 12, 0, 0, 500, tzinfo=datetime.UTC)


def zoned(offset: str) -> Dataset:
    dataset = Dataset()
    dataset.TimezoneOffsetFromUTC = offset
    return dataset


@pytest.mark.parametrize("dataset", [Dataset(), zoned(""), zoned("Berlin"), zoned("+9999")])
def test_an_absent_or_invalid_zone_is_none(dataset: Dataset) -> None:
    assert declared_zone(dataset) is None


def test_a_moment_is_converted_to_whole_seconds_of_the_declared_zone() -> None:
    moment = in_zone_of(zoned("+0530"), NOON)
    assert moment.isoformat() == "2026-03-01T17:30:00+05:30"


def test_a_moment_without_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="time zone"):
        in_zone_of(Dataset(), NOON.replace(tzinfo=None))
