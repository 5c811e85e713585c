"""The encoded form of the elements that decide the header of an image.

Slices of a series have the same bytes in nearly all of them, so one decoding serves all slices.
Guarantee: two images with the same shared bytes differ at most in the fields of `PER_SLICE`.
"""

from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag

from node.dicom.bounds import MOST_VALUE_BYTES
from node.series.values import B_VALUE_TAGS, GE_COMPONENT_TAG, text

CHARACTER_SET = Tag("SpecificCharacterSet")
PER_SLICE = ("SOPInstanceUID", "InstanceNumber", "ImagePositionPatient")
# every other element that `header_of` reads; a test compares
PUBLIC = tuple(
    Tag(keyword)
    for keyword in (
        "SpecificCharacterSet", "SOPClassUID", "StudyInstanceUID", "SeriesInstanceUID",
        "FrameOfReferenceUID", "Modality", "Manufacturer", "Rows", "Columns", "SamplesPerPixel",
        "PhotometricInterpretation", "BitsAllocated", "BitsStored", "HighBit",
        "PixelRepresentation", "PixelPresentation", "RescaleSlope", "RescaleIntercept",
        "RescaleType", "ModalityLUTSequence", "RealWorldValueMappingSequence", "Units",
        "LossyImageCompression", "LossyImageCompressionMethod", "LossyImageCompressionRatio",
        "DerivationCodeSequence", "ImageOrientationPatient", "PixelSpacing", "SliceThickness",
        "ImageType", "ComplexImageComponent", "StudyDescription", "SeriesDescription",
        "DerivationDescription",
        "ProtocolName", "SequenceName", "PulseSequenceName", "ContrastBolusAgentSequence",
        "ContrastBolusAgent", "StationName", "BodyPartExamined", "PatientAge", "SeriesNumber",
        "NumberOfFrames", "NumberOfSeriesRelatedInstances", "InConcatenationTotalNumber",
        "ImagesInAcquisition", "EchoTime", "AcquisitionNumber", "TemporalPositionIdentifier",
        "AccessionNumber", "PatientID", "StudyDate", "IssuerOfPatientID", "PatientBirthDate",
        "SeriesDate", "AcquisitionDate",
        0x00190010, 0x00430010,  # who defines the private elements
    )
)  # fmt: skip
SHARED = (*PUBLIC, *B_VALUE_TAGS, GE_COMPONENT_TAG)
SharedBytes = tuple[object, ...]


def shared_bytes(dataset: Dataset) -> SharedBytes | None:
    """Return the encoded form of every element of `SHARED`; None if one is no longer encoded."""
    meta = getattr(dataset, "file_meta", Dataset())
    parts: list[object] = [
        text(meta, "TransferSyntaxUID"), text(meta, "SourceApplicationEntityTitle")
    ]  # fmt: skip
    for tag in SHARED:
        element = dataset.get_item(tag)
        if element is None:
            parts.append(None)
        elif isinstance(element, RawDataElement):
            if len(element.value or b"") > MOST_VALUE_BYTES:
                return None
            parts.append((element.VR, element.is_little_endian, element.value))
        elif element.is_empty or tag == CHARACTER_SET:  # pydicom decodes these while it reads
            parts.append((element.VR, str(element.value)))
        else:
            return None
    return tuple(parts)
