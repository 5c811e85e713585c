"""Read DICOM instances as a checked `Series` with a `Volume`, or raise `Unsuitable`.

Guarantees: the affine depends on ImagePositionPatient and ImageOrientationPatient only; the order
of the files does not matter; nothing is interpolated; each image left out is listed.
`node.arrival` decides which series gets which model; `node.pipeline` segments the volume.
"""

from node.series.copies import same_image
from node.series.frames import read_headers
from node.series.header import Header, StudyAttributes, read_instance
from node.series.key_objects import KeyObject
from node.series.kinds import derived_as
from node.series.parts import parts_of
from node.series.read import Series, read
from node.series.slices import Dropped, is_slice
from node.series.survey import Survey, survey

__all__ = [
    "Dropped",
    "Header",
    "KeyObject",
    "Series",
    "StudyAttributes",
    "Survey",
    "derived_as",
    "is_slice",
    "parts_of",
    "read",
    "read_headers",
    "read_instance",
    "same_image",
    "survey",
]
