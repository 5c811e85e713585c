"""Write an object in one of the default transfer syntaxes, for a target that accepts no other.

Guarantees: the copy has the same elements, values and pixels as the verified object, which stays
as it is.
"""

from io import BytesIO
from pathlib import Path

import pydicom
from pydicom.dataset import Dataset
from pydicom.uid import UID, ExplicitVRLittleEndian

from node.errors import VerificationFailed
from node.sender.compare import additions, differences


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
    read = pydicom.dcmread(BytesIO(written.getvalue()))
    differing = differences(source, read) or additions(source, read)
    if differing:
        name = UID(transfer_syntax).name
        message = (
            f"{file.name} written in {name} is not the verified object: {differing[0]} differs"
        )
        raise VerificationFailed(message, advice="Report it with the log.")
    return read
