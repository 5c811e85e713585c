"""Encode the picture of a result as a Secondary Capture image, for viewers that show no SEG.

Guarantees: study, patient and equipment are those of the SEG; the same inputs give the same bytes.
`node.preview` renders the picture, with its purpose and the sides of the patient in it.
"""

import datetime
import hashlib

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian

from node.dicom.build import set_elements
from node.dicom.uids import SECONDARY_CAPTURE_CLASS, derive_uid
from node.related import named, related

SERIES_STEP = 6  # the structure set has 5 in the block of ten of their source series


def encode_picture(
    picture: npt.NDArray[np.uint8],
    seg: Dataset,
    *,
    created: datetime.datetime,
    uid_root: str,
) -> Dataset:
    """Return the Secondary Capture image (PS3.3 A.8) of a picture.

    Args:
        picture: rows x columns x RGB.
        seg: the SEG of the result, whose patient, study and equipment the image has.
        created: the date and time of the object.
        uid_root: the root of its UIDs.
    """
    syntax = ExplicitVRLittleEndian
    dataset = related(seg, created, sop_class=SECONDARY_CAPTURE_CLASS, syntax=syntax)
    content = hashlib.sha256(picture.tobytes()).hexdigest()
    series_uid = derive_uid(uid_root, "picture", seg.SeriesInstanceUID)
    uid = derive_uid(uid_root, "instance", series_uid, seg.SOPInstanceUID, content)
    named(dataset, series_uid, uid, int(seg.SeriesNumber) // 10 * 10 + SERIES_STEP)
    set_elements(
        dataset,
        Modality="OT",
        ConversionType="WSD",  # made by a workstation
        ImageType=["DERIVED", "SECONDARY"],
        SeriesDescription=str(seg.SeriesDescription).replace("AI SEG", "AI picture", 1),
        PatientOrientation="",  # three planes: letters in the picture name the sides
        BurnedInAnnotation="NO",  # nothing in it identifies the patient
        ImageComments="AI result - for research use only, not for diagnosis",
        LossyImageCompression=seg.get("LossyImageCompression", "00"),
        SamplesPerPixel=3,
        PhotometricInterpretation="RGB",
        PlanarConfiguration=0,
        Rows=picture.shape[0],
        Columns=picture.shape[1],
        BitsAllocated=8,
        BitsStored=8,
        HighBit=7,
        PixelRepresentation=0,
    )
    for name in ("LossyImageCompressionRatio", "LossyImageCompressionMethod"):
        if name in seg:
            set_elements(dataset, **{name: seg[name].value})
    pixels = picture.tobytes()
    dataset.add_new("PixelData", "OB", pixels + b"\0" * (len(pixels) % 2))
    return dataset
