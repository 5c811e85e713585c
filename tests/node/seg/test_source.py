"""The small copies of the source images that highdicom gets."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from pydicom.valuerep import DSfloat

from node import series
from node.imaging import Grid, Volume
from node.seg.source import slim_copies
from node.series.compose import Labelling, compose


def test_each_copy_has_the_place_of_its_slice_and_what_all_slices_share(tmp_path: Path) -> None:
    affine = np.array([[0, 0, -0.5, 3.125], [0, 0.75, 0, -7], [2.5, 0, 0, 11], [0, 0, 0, 1.0]])
    values = np.random.default_rng(1).integers(0, 900, (5, 6, 7)).astype(np.float32)
    moment = datetime(2026, 1, 2, tzinfo=UTC)
    volume = Volume(values, Grid((5, 6, 7), affine))
    read = series.read(list(compose(volume, tmp_path / "a", Labelling(), moment).files))
    first = read.survey.headers[0]
    images = slim_copies(read, (1, 2))
    assert len(images) == len({image.SOPInstanceUID for image in images})
    for image, header in zip(images, read.survey.headers, strict=True):
        assert image.ImagePositionPatient == [
            DSfloat(v, auto_format=True) for v in header.position_mm or ()
        ]
        assert list(image.ImageOrientationPatient) == list(first.orientation or ())
        assert list(image.PixelSpacing) == list(first.pixel_spacing_mm or ())
        assert (image.Rows, image.Columns) == (1, 2)
        assert image.SliceThickness == images[0].SliceThickness
        assert float(image.SpacingBetweenSlices) == np.round(read.survey.grid.spacing_mm[0], 6)
        assert (image.SOPClassUID, image.Modality) == (header.sop_class_uid, header.modality)
        assert (image.StudyInstanceUID, image.SeriesInstanceUID) == (
            header.study_uid,
            header.series_uid,
        )
        assert image.FrameOfReferenceUID == header.frame_of_reference_uid
    assert "PatientID" in images[0]
    assert all("PatientID" not in image for image in images[1:])
