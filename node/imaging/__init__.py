"""Geometry and voxels as pure functions: no DICOM, no files of the node, no clocks."""

from node.imaging.volume import Grid, Labels, Volume

__all__ = ["Grid", "Labels", "Volume"]
