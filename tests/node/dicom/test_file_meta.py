"""The head of a file is the one that pydicom writes, whatever the peer called itself."""

import io

import pytest
from pydicom import dcmread
from pydicom.dataset import FileMetaDataset
from pydicom.filewriter import write_file_meta_info
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from node.dicom.file_meta import HEAD_BYTES, file_head, sop_class_of
from node.dicom.uids import IMPLEMENTATION_UID, IMPLEMENTATION_VERSION


def by_pydicom(sop_class: str, sop_instance: str, transfer_syntax: str, calling_ae: str) -> bytes:
    meta = FileMetaDataset()
    meta.FileMetaInformationVersion = b"\x00\x01"
    meta.MediaStorageSOPClassUID = sop_class
    meta.MediaStorageSOPInstanceUID = sop_instance
    meta.TransferSyntaxUID = transfer_syntax
    meta.ImplementationClassUID = IMPLEMENTATION_UID
    meta.ImplementationVersionName = IMPLEMENTATION_VERSION
    meta.SourceApplicationEntityTitle = calling_ae.encode("ascii", "replace").decode()
    buffer = io.BytesIO()
    write_file_meta_info(buffer, meta)
    return bytes(128) + b"DICM" + buffer.getvalue()


@pytest.mark.parametrize("instance", ["1.2.3.4", "1.2.3.45", "1.2.03.004"])
@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian])
@pytest.mark.parametrize("ae", ["", "CT01", "ODD", "Wörlitz", "A\\B", "A" * 16])
def test_the_bytes_are_those_of_pydicom(instance: str, syntax: str, ae: str) -> None:
    facts = (CTImageStorage, instance, syntax, ae)
    assert file_head(*facts) == by_pydicom(*facts)
    assert sop_class_of(file_head(*facts)[:HEAD_BYTES]) == CTImageStorage


def test_the_head_alone_is_a_file_that_pydicom_reads() -> None:
    head = file_head(CTImageStorage, "1.2.3", ExplicitVRLittleEndian, "CT01")
    meta = dcmread(io.BytesIO(head)).file_meta
    assert meta.MediaStorageSOPInstanceUID == "1.2.3"
    assert meta.SourceApplicationEntityTitle == "CT01"
