"""Bounds of the numbers in a recipe, and the base of its parts; msgspec refuses the rest by path.

Every bound is finite on both sides, so that neither NaN nor infinity passes.
"""

from typing import Annotated

import msgspec
from msgspec import Meta

Count = Annotated[int, Meta(ge=1, le=10**9)]  # of steps
Batch = Annotated[int, Meta(ge=1, le=1024)]
Folds = Annotated[int, Meta(ge=1, le=100)]
Edge = Annotated[int, Meta(ge=1, le=10**4)]  # voxels
KernelEdge = Annotated[int, Meta(ge=1, le=31)]  # voxels
Stride = Annotated[int, Meta(ge=1, le=16)]
Convolutions = Annotated[int, Meta(ge=1, le=32)]  # of one stage
Width = Annotated[int, Meta(ge=1, le=4096)]  # channels of an imported stage
Fine = Annotated[int, Meta(ge=1, le=16)]
Knots = Annotated[int, Meta(ge=1, le=256)]
Channels = Annotated[int, Meta(ge=1, le=320)]  # nnU-Net's limit for 3D
FineWidth = Annotated[int, Meta(ge=0, le=320)]
LabelId = Annotated[int, Meta(ge=0, le=2**31 - 1)]
SegmentNumber = Annotated[int, Meta(ge=1, le=255)]  # labels are stored as bytes
Seed = Annotated[int, Meta(ge=0, le=2**32 - 1)]

Share = Annotated[float, Meta(ge=0, le=1)]  # of something, or a probability
PartialShare = Annotated[float, Meta(ge=0, lt=1)]
LeastShare = Annotated[float, Meta(ge=0.01, le=1)]
Amount = Annotated[float, Meta(ge=0, le=1e6)]
Positive = Annotated[float, Meta(gt=0, le=1e6)]
Degrees = Annotated[float, Meta(ge=0, le=180)]
Rate = Annotated[float, Meta(gt=0, le=10)]
Small = Annotated[float, Meta(ge=0, le=10)]
Norm = Annotated[float, Meta(ge=1e-6, le=1e6)]
Voxels = Annotated[float, Meta(ge=0, le=1e3)]
AtLeastOne = Annotated[float, Meta(ge=1, le=1e3)]


class Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base of all parts of a recipe: frozen, and an unknown key is an error."""
