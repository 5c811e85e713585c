"""Labels to a DICOM SEG on the source grid, and the check that it says what was meant.

Promises: same study, patient and frame of reference as the source; the same inputs give the same
bytes; `verify` reads with its own decoder and compares in patient space.
Leaves to `sender`: delivery. Leaves to `report`: volumes.
"""

from node.seg.encode import encode
from node.seg.identity import Encoding, SegIdentity
from node.seg.verify import read_labels, verify
from node.seg.write import to_bytes
from node.series.uid import derive_uid

__all__ = [
    "Encoding",
    "SegIdentity",
    "derive_uid",
    "encode",
    "read_labels",
    "to_bytes",
    "verify",
]
