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

from node.dicom.related import named, related
from node.dicom.uids import SECONDARY_CAPTURE_CLASS, derive_uid

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
    dataset.Modality = "OT"
    dataset.ConversionType = "WSD"  # made by a workstation
    dataset.ImageType = ["DERIVED", "SECONDARY"]
    dataset.SeriesDescription = seg.SeriesDescription.replace("AI SEG", "AI picture", 1)
    dataset.PatientOrientation = ""  # three planes: letters in the picture name the sides
    dataset.BurnedInAnnotation = "NO"  # nothing in it identifies the patient
    dataset.ImageComments = "AI result - for research use only, not for diagnosis"
    dataset.LossyImageCompression = seg.get("LossyImageCompression", "00")
    if dataset.LossyImageCompression == "01":
        for name in ("LossyImageCompressionRatio", "LossyImageCompressionMethod"):
            if name in seg:
                setattr(dataset, name, seg[name].value)
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 3, "RGB"
    dataset.PlanarConfiguration = 0
    dataset.Rows, dataset.Columns = picture.shape[:2]
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit, dataset.PixelRepresentation = 7, 0
    pixels = picture.tobytes()
    dataset.PixelData = pixels + b"\0" * (len(pixels) % 2)
    dataset["PixelData"].VR = "OB"
    return dataset
