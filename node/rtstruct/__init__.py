"""Encode labels as an RT Structure Set with contours on the source images, and verify it.

Guarantees: study, patient and frame of reference are those of the source; the contours, filled
again by a separate decoder, are the labels voxel by voxel; the structures are UNAPPROVED.
"""

from node.rtstruct.encode import encode
from node.rtstruct.verify import verify

__all__ = ["encode", "verify"]
