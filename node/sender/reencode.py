"""Write an object in one of the default transfer syntaxes, for a target that accepts no other.

Guarantees: the copy has the same elements, values and pixels as the verified object, which stays
as it is.
"""

from io import BytesIO
from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import Dataset
from pydicom.tag import BaseTag
from pydicom.uid import UID, ExplicitVRLittleEndian

from node.errors import VerificationFailed

PIXEL_DATA = 0x7FE00010


def reencoded(file: Path, transfer_syntax: str) -> Dataset:
    """Return the object of `file` in an uncompressed transfer syntax, read back and compared.

    Raises:
        VerificationFailed: the copy differs from the object.
    """
    source = pydicom.dcmread(file)
    copy = pydicom.dcmread(file)
    if copy.file_meta.TransferSyntaxUID.is_compressed:
        copy.decompress(generate_instance_uid=False)
    copy.file_meta.TransferSyntaxUID = UID(transfer_syntax)
    written = BytesIO()
    is_implicit = transfer_syntax != ExplicitVRLittleEndian
    pydicom.dcmwrite(
        written, copy, implicit_vr=is_implicit, little_endian=True, enforce_file_format=True
    )
    problem = _difference(source, pydicom.dcmread(BytesIO(written.getvalue())))
    if problem:
        name = UID(transfer_syntax).name
        message = f"{file.name} written in {name} is not the verified object: {problem}"
        raise VerificationFailed(message, advice="Report it with the log.")
    return pydicom.dcmread(BytesIO(written.getvalue()))


def _difference(one: Dataset, other: Dataset) -> str:
    """Return the first difference of two data sets; empty if there is none."""
    if one.keys() != other.keys():
        return f"elements {sorted(map(str, one.keys() ^ other.keys()))}"
    for element in one:
        if not _is_same(one, other, element.tag):
            return f"the value of {element.tag}"
    return ""


def _is_same(one: Dataset, other: Dataset, tag: BaseTag) -> bool:
    here, there = one[tag], other[tag]
    if tag == PIXEL_DATA:
        return np.array_equal(one.pixel_array, other.pixel_array)
    if here.VR != "SQ":
        return bool(here.value == there.value)
    return len(here.value) == len(there.value) and not any(
        map(_difference, here.value, there.value)
    )
