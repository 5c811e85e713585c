"""DICOM instances to a checked `Series` with a `Volume`, or an `Unsuitable` in words.

Promises: the affine comes from ImagePositionPatient and ImageOrientationPatient alone; any order of
the files gives the same volume; nothing is interpolated, stacked or left out in silence.
Leaves to `arrival`: which series gets which model. Leaves to `pipeline`: everything after voxels.
"""

from node.series.copies import same_image
from node.series.frames import read_headers
from node.series.header import Header
from node.series.read import Series, read
from node.series.survey import Dropped, Survey, is_slice, survey

__all__ = [
    "Dropped",
    "Header",
    "Series",
    "Survey",
    "is_slice",
    "read",
    "read_headers",
    "same_image",
    "survey",
]
