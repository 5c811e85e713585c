"""The source images as highdicom needs them: slim copies with mended headers and true geometry."""

import copy

import numpy as np
from pydicom.dataset import Dataset
from pydicom.valuerep import DSfloat

from node.seg.repair import inherited
from node.series import Series


def slim_copies(series: Series) -> tuple[list[Dataset], tuple[str, ...]]:
    """Return one small dataset per slice, and the repairs made to what results inherit.

    Orientation and spacings are those of the grid, hence of the first slice in space: the others
    share them within tolerances (`node.series.stack`), and what headers say about slice distance is
    often wrong.
    """
    common, repairs = inherited(series.datasets[0])
    grid = series.survey.grid
    distance = float(np.round(grid.spacing_mm[0], 6))
    thickness = series.survey.headers[0].slice_thickness_mm
    if thickness is None or thickness <= 0:
        # required of a volume; each frame of the result stands for the slab up to the next slice
        thickness = distance
        repairs = (*repairs, "SliceThickness was absent or 0; the slice distance was written")
    if not common.get("LossyImageCompression"):
        common.LossyImageCompression = "00"
    first = series.survey.headers[0]
    assert first.orientation is not None
    assert first.pixel_spacing_mm is not None
    images: list[Dataset] = []
    for header in series.survey.headers:
        image = copy.copy(common) if not images else Dataset()
        image.SOPClassUID, image.SOPInstanceUID = header.sop_class_uid, header.sop_instance_uid
        image.StudyInstanceUID, image.SeriesInstanceUID = header.study_uid, header.series_uid
        image.FrameOfReferenceUID, image.Modality = header.frame_of_reference_uid, header.modality
        image.Rows, image.Columns = grid.shape[1:]
        assert header.position_mm is not None
        image.ImagePositionPatient = [_ds(value) for value in header.position_mm]
        image.ImageOrientationPatient = [_ds(value) for value in first.orientation]
        image.PixelSpacing = [_ds(value) for value in first.pixel_spacing_mm]
        image.SliceThickness = _ds(thickness)
        image.SpacingBetweenSlices = _ds(distance)
        images.append(image)
    return images, repairs


def _ds(value: float) -> DSfloat:
    return DSfloat(value, auto_format=True)
