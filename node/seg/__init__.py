"""Encode labels as a DICOM SEG on the source grid, and verify the finished object.

Guarantees: study, patient and frame of reference are those of the source; the same inputs give the
same bytes; `verify` reads with a separate decoder and compares in patient space.
`node.report` writes the volumes; `node.sender` delivers.
"""

from node.encoding import Encoding
from node.seg.encode import encode
from node.seg.identity import SegIdentity
from node.seg.repair import inherited
from node.seg.source import repairs_of
from node.seg.verify import read_labels, verify
from node.seg.write import to_bytes

__all__ = [
    "Encoding",
    "SegIdentity",
    "encode",
    "inherited",
    "read_labels",
    "repairs_of",
    "to_bytes",
    "verify",
]
