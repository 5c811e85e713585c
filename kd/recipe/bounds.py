"""Bounds of the numbers in a recipe; msgspec refuses a value outside with its path.

Every bound is finite on both sides, so that neither NaN nor infinity passes.
"""

from typing import Annotated

from msgspec import Meta

Count = Annotated[int, Meta(ge=1, le=10**9)]
Channels = Annotated[int, Meta(ge=1, le=320)]  # nnU-Net's limit for 3D
FineWidth = Annotated[int, Meta(ge=0, le=320)]
LabelId = Annotated[int, Meta(ge=0, le=2**31 - 1)]
SegmentNumber = Annotated[int, Meta(ge=1, le=255)]  # labels are stored as bytes
Seed = Annotated[int, Meta(ge=0, le=2**32 - 1)]

Share = Annotated[float, Meta(ge=0, le=1)]  # of something, or a probability
PartialShare = Annotated[float, Meta(ge=0, lt=1)]
PositiveShare = Annotated[float, Meta(gt=0, le=1)]
Amount = Annotated[float, Meta(ge=0, le=1e6)]
Positive = Annotated[float, Meta(gt=0, le=1e6)]
Degrees = Annotated[float, Meta(ge=0, le=180)]
AtLeastOne = Annotated[float, Meta(ge=1, le=1e3)]
