"""Bounds of the numbers in the steps of a package; finite on both sides, so that NaN is refused."""

from typing import Annotated

from msgspec import Meta

LARGEST = 1e9

Number = Annotated[float, Meta(ge=-LARGEST, le=LARGEST)]
Amount = Annotated[float, Meta(ge=0, le=LARGEST)]
Positive = Annotated[float, Meta(gt=0, le=LARGEST)]
Percentile = Annotated[float, Meta(ge=0, le=100)]
SegmentNumber = Annotated[int, Meta(ge=1, le=255)]  # labels are stored as bytes
