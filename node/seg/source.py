"""Prepare the source images for highdicom: small copies with repaired headers and exact geometry.

Highdicom takes single-frame images, or one whole multi-frame image. Slices may be any frames of any
instances, so each slice is given to highdicom as a single-frame image with a temporary UID, and
`refer` replaces the temporary UIDs in the result.
"""

import copy

import numpy as np
from pydicom.dataset import Dataset
from pydicom.valuerep import DSfloat

from node.seg.repair import inherited
from node.series import Header, Series
from node.series.frames import SINGLE_FRAME_CLASSES

TEMPORARY_ROOT = "1.2."
LOSSY = ("LossyImageCompressionRatio", "LossyImageCompressionMethod")


def repairs_of(series: Series) -> tuple[str, ...]:
    """Return the repairs of the header values that a result inherits, in words."""
    return _common(series)[1]


def slim_copies(series: Series, size: tuple[int, int]) -> list[Dataset]:
    """Return one small dataset per slice, with pixels of `size` (rows, columns).

    Orientation and spacings are those of the grid. The slices share them within the tolerances of
    `node.series.stack`, and headers often state a wrong slice distance.
    """
    common, _ = _common(series)
    first = series.survey.headers[0]
    assert first.orientation is not None
    assert first.pixel_spacing_mm is not None
    shared = Dataset()  # set once: pydicom converts and checks each value that is set
    shared.Rows, shared.Columns = size
    shared.ImageOrientationPatient = [_ds(value) for value in first.orientation]
    shared.PixelSpacing = [_ds(value) for value in first.pixel_spacing_mm]
    shared.SliceThickness = common.SliceThickness
    shared.SpacingBetweenSlices = _ds(_distance_mm(series))
    images: list[Dataset] = []
    for uid, header in _temporary_uids(series).items():
        image = copy.copy(common) if not images else Dataset()
        image.update(shared)
        image.SOPClassUID = SINGLE_FRAME_CLASSES.get(header.sop_class_uid, header.sop_class_uid)
        image.SOPInstanceUID = uid
        image.StudyInstanceUID, image.SeriesInstanceUID = header.study_uid, header.series_uid
        image.FrameOfReferenceUID, image.Modality = header.frame_of_reference_uid, header.modality
        assert header.position_mm is not None
        image.ImagePositionPatient = [_ds(value) for value in header.position_mm]
        images.append(image)
    return images


def _common(series: Series) -> tuple[Dataset, tuple[str, ...]]:
    """Return the values that all slices share, and the repairs of inherited ones."""
    common, repairs = inherited(series.identifying)
    headers = series.survey.headers
    unidentified = sum(not header.patient_digest for header in headers)
    if 0 < unidentified < len(headers):
        count = f"{unidentified} of {len(headers)} images"
        repairs = (*repairs, f"PatientID was absent in {count}; that of the others was written")
    repairs = (*repairs, *_accession_repairs(series))
    thickness = series.survey.headers[0].slice_thickness_mm
    if thickness is None or thickness <= 0:
        # required of a volume; each frame of the result stands for the slab up to the next slice
        thickness = _distance_mm(series)
        repairs = (*repairs, "SliceThickness was absent or 0; the slice distance was written")
    common.SliceThickness = _ds(thickness)
    common.LossyImageCompression = "01" if _any_lossy(series) else "00"
    if common.LossyImageCompression == "01":
        _inherit_lossy(common, series)
    return common, repairs


def _accession_repairs(series: Series) -> tuple[str, ...]:
    """Return which of several accession numbers was written; an archive may coerce some images."""
    headers = series.survey.headers
    numbers = [header.study.accession_number for header in headers]
    number_of_values, absent = len({*numbers} - {""}), numbers.count("")
    if number_of_values > 1:
        which = headers[series.identifying_at].instance_number
        of = "one of them" if which is None else f"image {which}"
        return (
            f"AccessionNumber has {number_of_values} values in the images; that of {of} was "
            f"written",
        )
    if number_of_values and absent:
        count = f"{absent} of {len(headers)} images"
        return (f"AccessionNumber was absent in {count}; that of the others was written",)
    return ()


def _distance_mm(series: Series) -> float:
    return float(np.round(series.survey.grid.spacing_mm[0], 6))


def _any_lossy(series: Series) -> bool:
    """Check all slices: one image that lost information is enough."""
    return any(header.lossy for header in series.survey.headers)


def _inherit_lossy(common: Dataset, series: Series) -> None:
    """Copy ratio and method from the first slice that states them; never invent them."""
    for dataset in series.datasets:
        stated = [name for name in LOSSY if dataset.get(name) not in (None, "")]
        if stated:
            for name in LOSSY:
                common.pop(name, None)
            for name in stated:
                setattr(common, name, copy.deepcopy(dataset[name].value))
            return


def refer(seg: Dataset, series: Series) -> None:
    """Replace the temporary UIDs in `seg` by the instances of `series` and their frames."""
    headers = _temporary_uids(series)
    images = {  # frames of several segments on one slice may share the item
        id(image): image
        for group in seg.PerFrameFunctionalGroupsSequence
        for derivation in group.DerivationImageSequence
        for image in derivation.SourceImageSequence
    }
    for image in images.values():
        header = headers[image.ReferencedSOPInstanceUID]
        image.ReferencedSOPClassUID = header.sop_class_uid
        image.ReferencedSOPInstanceUID = header.sop_instance_uid
        if header.frame is not None:
            image.ReferencedFrameNumber = header.frame
    classes = {header.sop_instance_uid: header.sop_class_uid for header in series.survey.headers}
    instances = []
    for uid, sop_class in classes.items():
        instance = Dataset()
        instance.ReferencedSOPClassUID, instance.ReferencedSOPInstanceUID = sop_class, uid
        instances.append(instance)
    seg.SourceImageSequence = instances
    seg.ReferencedSeriesSequence[0].ReferencedInstanceSequence = instances


def slices_of(seg: Dataset) -> list[int]:
    """Return the slice that each frame of `seg` shows; call this before `refer`."""
    return [
        int(str(image.ReferencedSOPInstanceUID).removeprefix(TEMPORARY_ROOT)) - 1
        for group in seg.PerFrameFunctionalGroupsSequence
        for image in group.DerivationImageSequence[0].SourceImageSequence[:1]
    ]


def _temporary_uids(series: Series) -> dict[str, Header]:
    """Return the slices in order by temporary UIDs, which never leave this module."""
    return {f"{TEMPORARY_ROOT}{at + 1}": header for at, header in enumerate(series.survey.headers)}


def _ds(value: float) -> DSfloat:
    return DSfloat(value, auto_format=True)
