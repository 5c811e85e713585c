"""Compare two ways to write the head of a received file: ours, and `pydicom.filewriter`.

Prints microseconds per head for both. Run: python -m benchmarks.file_head
"""

import io
import timeit

from pydicom.dataset import FileMetaDataset
from pydicom.filewriter import write_file_meta_info
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from node.dicom.file_meta import file_head
from node.dicom.uids import IMPLEMENTATION_UID, IMPLEMENTATION_VERSION

REPEATS = 2000
FACTS = (CTImageStorage, "1.2.826.0.1.3680043.8.498.2.17", ExplicitVRLittleEndian, "CT01")


def by_pydicom() -> bytes:
    """Write the same head with pydicom."""
    meta = FileMetaDataset()
    meta.FileMetaInformationVersion = b"\x00\x01"
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = FACTS[:2]
    meta.TransferSyntaxUID, meta.SourceApplicationEntityTitle = FACTS[2:]
    meta.ImplementationClassUID = IMPLEMENTATION_UID
    meta.ImplementationVersionName = IMPLEMENTATION_VERSION
    buffer = io.BytesIO()
    write_file_meta_info(buffer, meta)
    return bytes(128) + b"DICM" + buffer.getvalue()


def main() -> None:
    """Time both in turn."""
    assert by_pydicom() == file_head(*FACTS)
    for name, build in (("node", lambda: file_head(*FACTS)), ("pydicom", by_pydicom)):
        seconds = min(timeit.repeat(build, number=REPEATS, repeat=3)) / REPEATS
        print(f"{name:10}{seconds * 1e6:8.1f} µs")


if __name__ == "__main__":
    main()
