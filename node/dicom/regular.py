"""Write the value representation where an element of a data set has none that is known.

pydicom takes such an element for an implicit one, and so loses its way. The received file stays as
it is: only the copy that is read gets the VR UN, from which pydicom derives that of its dictionary.
"""

import struct

from pydicom.uid import ExplicitVRBigEndian

from node.dicom.elements import ElementReader


def with_known_vrs(data: memoryview, transfer_syntax: str) -> bytes | None:
    """Return a copy of a data set with known VRs; None if all of them are known.

    Raises:
        MalformedDataSet: the data set is cut off, or is none.
    """
    reader = ElementReader(data, transfer_syntax)
    for _ in reader:
        pass
    if not reader.irregular:
        return None
    order = ">" if transfer_syntax == ExplicitVRBigEndian else "<"
    parts: list[bytes | memoryview] = []
    at = 0
    for begin, start, length in reader.irregular:
        parts += [data[at : begin + 4], b"UN", struct.pack(f"{order}HI", 0, length)]
        at = start
    return b"".join([*parts, data[at:]])
