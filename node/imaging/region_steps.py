"""The closed list of steps that clean finished labels by their connected regions.

Each step acts on the listed segments; voxels that it removes become background, unless it says
otherwise.
`node.imaging.regions` applies them: manifests are read where no image is processed.
"""

import msgspec

from node.imaging.numbers import Amount, SegmentNumber


class KeepLargest(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="keep_largest", tag_field="step"
):
    """Keep only the largest connected region of the listed segments taken together."""

    segments: tuple[SegmentNumber, ...]


class KeepLargestEach(
    msgspec.Struct,
    frozen=True,
    forbid_unknown_fields=True,
    tag="keep_largest_each",
    tag_field="step",
):
    """Keep only the largest connected region of each listed segment."""

    segments: tuple[SegmentNumber, ...]


class RemoveSmall(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="remove_small", tag_field="step"
):
    """Remove connected regions of each listed segment that are smaller than `ml` millilitres."""

    segments: tuple[SegmentNumber, ...]
    ml: Amount


class KeepNear(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="keep_near", tag_field="step"
):
    """Keep only voxels of the listed segments within `mm` of a voxel of any other segment.

    Distances are between the centres of voxels.
    """

    segments: tuple[SegmentNumber, ...]
    mm: Amount


class ReplaceIslands(
    msgspec.Struct,
    frozen=True,
    forbid_unknown_fields=True,
    tag="replace_islands",
    tag_field="step",
):
    """Give the class of the second largest score to islands of each listed segment.

    Islands are connected regions other than the largest that are smaller than `ml` millilitres. All
    of them are found before any is replaced.
    """

    segments: tuple[SegmentNumber, ...]
    ml: Amount


RegionStep = KeepLargest | KeepLargestEach | RemoveSmall | KeepNear | ReplaceIslands
