"""The meaning of pixels by their headers: units and pixel formats, checked at survey."""

from collections.abc import Collection
from pathlib import Path

import pytest
from pydicom.dataset import Dataset

from node import errors
from node.series import Header, read_headers, survey
from tests.support.enhanced import enhance, frames
from tests.support.odd_headers import Edit, in_slices, modality_lut, real_world, sets
from tests.support.phantoms import Phantom, make

SOME = (2, 5)
NO_RESCALE = sets(RescaleSlope=None, RescaleIntercept=None)
MR_RESCALE = sets(RescaleSlope="2", RescaleIntercept="0")


def headers(
    folder: Path, edit: Edit, modality: str, slices: Collection[int] | None
) -> list[Header]:
    """Return the headers of a phantom with edited slices, counted along the normal."""
    phantom = Phantom(modality=modality, change=in_slices(edit, slices), shuffle=False)
    return [header for path in make(folder, phantom).paths for header in read_headers(path)]


def named_unit(meaning: str) -> Edit:
    """Return the edit that adds a mapping whose unit has a name, but no code."""

    def edit(dataset: Dataset) -> None:
        real_world("x")(dataset)
        unit = dataset.RealWorldValueMappingSequence[0].MeasurementUnitsCodeSequence[0]
        del unit.CodeValue
        unit.CodeMeaning = meaning

    return edit


def table_and_rescale(dataset: Dataset) -> None:
    modality_lut(dataset)
    MR_RESCALE(dataset)


UNSUITABLE: list[tuple[str, str, Edit, Collection[int] | None, tuple[str, ...]]] = [
    ("unusable-rescale", "CT", NO_RESCALE, None, ("12 of 12", "Hounsfield")),
    ("unusable-rescale", "CT", NO_RESCALE, SOME, ("2 of 12", "instance number 3, 6")),
    ("unusable-rescale", "CT", sets(RescaleSlope=None), (4,), ("1 of 12", "instance number 5")),
    ("unusable-rescale", "CT", sets(RescaleIntercept=None), (4,), ("1 of 12",)),
    ("unusable-rescale", "CT", sets(RescaleIntercept=""), SOME, ("2 of 12",)),
    ("unusable-rescale", "CT", sets(RescaleSlope="0"), SOME, ("2 of 12",)),
    ("unusable-rescale", "MR", sets(RescaleSlope="0"), None, ("12 of 12",)),
    ("unusable-rescale", "MR", sets(RescaleSlope="1e400"), (1,), ("1 of 12",)),
    ("wrong-units", "CT", sets(RescaleType="US"), None, ("Rescale Type is US", "12 of 12")),
    ("wrong-units", "CT", sets(RescaleType="us"), SOME, ("2 of 12",)),
    ("wrong-units", "CT", sets(RescaleType="MGML"), None, ("MGML",)),
    ("wrong-units", "CT", sets(RescaleType="mg/ml"), None, ("12 of 12",)),
    ("wrong-units", "CT", modality_lut, None, ("Modality LUT",)),
    (
        "wrong-units",
        "CT",
        lambda d: (sets(RescaleType=None)(d), real_world("mg/cm3")(d))[0],
        None,
        ("Real World Value Mapping",),
    ),
    (
        "wrong-units",
        "CT",
        sets(PixelRepresentation=0),
        SOME,
        ("no pixel can be below 0", "2 of 12", "instance number 3, 6"),
    ),
    ("wrong-units", "CT", sets(PixelRepresentation=0, RescaleIntercept="24"), None, ("below 24",)),
    ("mixed-units", "CT", real_world("[hnsf'U]"), SOME, ("Real World Value Mapping", "10 of 12")),
    ("mixed-units", "MR", MR_RESCALE, SOME, ("Rescale Slope", "10 of 12")),
    ("mixed-units", "MR", sets(RescaleIntercept="5"), SOME, ("Rescale Intercept",)),
    ("mixed-units", "MR", sets(RescaleType="US"), SOME, ("Rescale Type",)),
    ("mixed-units", "MR", modality_lut, SOME, ("Modality LUT",)),
    ("mixed-units", "MR", real_world("ms"), SOME, ("Real World Value Mapping",)),
    ("mixed-units", "MR", sets(Units="CNTS"), SOME, ("Units",)),
    ("parametric-map", "MR", real_world("ms"), None, ("values in ms", "12 of 12")),
    ("parametric-map", "MR", sets(RescaleType="mrad"), None, ("values in MRAD",)),
    ("parametric-map", "MR", sets(RescaleType="10^-6 mm^2/s"), None, ("10^-6 MM^2/S",)),
    ("parametric-map", "MR", sets(RescaleType="%"), None, ("values in %",)),
    ("parametric-map", "MR", named_unit("milliseconds"), None, ("values in milliseconds",)),
    ("unusable-rescale", "MR", table_and_rescale, None, ("12 of 12", "both a Modality LUT and")),
    ("missing-attribute", "MR", sets(SamplesPerPixel=None), None, ("SamplesPerPixel", "12 of 12")),
    ("missing-attribute", "MR", sets(PhotometricInterpretation=None), SOME, ("2 of 12",)),
    ("missing-attribute", "CT", sets(BitsAllocated=None), None, ("BitsAllocated",)),
    (
        "missing-attribute",
        "MR",
        sets(BitsStored=None, HighBit=None),
        None,
        ("BitsStored", "12 of 12"),
    ),
    ("missing-attribute", "MR", sets(PixelRepresentation=None), (0,), ("PixelRepresentation",)),
    ("missing-attribute", "MR", sets(Rows=None), None, ("Rows",)),
    ("missing-attribute", "CT", sets(Columns=None), (3,), ("Columns", "instance number 4")),
    ("missing-attribute", "MR", sets(PixelData=None), (7,), ("PixelData", "instance number 8")),
    ("unsupported-pixels", "MR", sets(BitsStored=17, HighBit=16), None, ("Bits Stored is 17",)),
    ("unsupported-pixels", "MR", sets(BitsStored=0), None, ("Bits Stored is 0",)),
    ("unsupported-pixels", "MR", sets(HighBit=16), SOME, ("High Bit is 16", "2 of 12")),
    ("unsupported-pixels", "MR", sets(HighBit=7), None, ("High Bit is 7",)),
    ("unsupported-pixels", "MR", sets(BitsAllocated=12), None, ("Bits Allocated is 12",)),
    ("unsupported-pixels", "MR", sets(PixelRepresentation=2), None, ("2, not 0 or 1",)),
    ("colour-image", "MR", sets(PhotometricInterpretation="PALETTE COLOR"), None, ("PALETTE",)),
    ("colour-image", "CT", sets(PhotometricInterpretation="RGB"), None, ("12 × colour", "RGB")),
    ("colour-image", "CT", sets(PhotometricInterpretation="YBR_FULL_422"), None, ("YBR_FULL",)),
    ("colour-image", "MR", sets(SamplesPerPixel=3), None, ("12 × colour",)),
    ("colour-image", "MR", sets(PixelPresentation="COLOR"), None, ("12 × colour",)),
]


@pytest.mark.parametrize(("code", "modality", "edit", "slices", "facts"), UNSUITABLE)
def test_headers_that_leave_the_meaning_open_are_unsuitable(
    tmp_path: Path,
    code: str,
    modality: str,
    edit: Edit,
    slices: Collection[int] | None,
    facts: tuple[str, ...],
) -> None:
    with pytest.raises(errors.Unsuitable) as caught:
        survey(headers(tmp_path, edit, modality, slices))
    assert caught.value.code == code
    assert caught.value.advice
    assert "CANARY" not in str(caught.value)
    for fact in facts:
        assert fact in caught.value.message


@pytest.mark.parametrize("photometric", ["PALETTE COLOR", "RGB"])
def test_every_second_slice_in_colour_is_unsuitable(tmp_path: Path, photometric: str) -> None:
    slices = headers(tmp_path, sets(PhotometricInterpretation=photometric), "MR", range(1, 12, 2))
    with pytest.raises(errors.ColourImage, match="5 colour images"):
        survey(slices)


SUITABLE: list[tuple[str, Edit, Collection[int] | None]] = [
    ("CT", sets(RescaleType=None), None),
    ("CT", sets(RescaleType=None), SOME),
    ("CT", sets(RescaleType="hu"), SOME),
    ("CT", real_world("[hnsf'U]"), None),
    ("CT", sets(PhotometricInterpretation="MONOCHROME1"), None),
    ("CT", sets(HighBit=None), None),
    ("MR", sets(HighBit=15), None),
    ("MR", MR_RESCALE, None),
    ("MR", sets(RescaleSlope="2"), None),
    ("MR", modality_lut, None),
    ("MR", real_world("1"), None),
    ("MR", sets(RescaleType="normalized"), None),
    ("MR", sets(RescaleType="no units"), None),
    ("MR", sets(RescaleType="a.u."), None),
    ("MR", named_unit("no units"), None),
    ("MR", real_world(""), None),
]


@pytest.mark.parametrize(("modality", "edit", "slices"), SUITABLE)
def test_headers_with_one_meaning_are_a_volume(
    tmp_path: Path, modality: str, edit: Edit, slices: Collection[int] | None
) -> None:
    assert len(survey(headers(tmp_path, edit, modality, slices)).headers) == 12


def group_without_rescale(dataset: Dataset) -> None:
    for one in frames(dataset)[4:7]:
        del one.PixelValueTransformationSequence


def group_of_other_type(dataset: Dataset) -> None:
    for one in frames(dataset):
        one.PixelValueTransformationSequence[0].RescaleType = "US"


@pytest.mark.parametrize(
    ("change", "code", "fact"),
    [
        (group_without_rescale, "unusable-rescale", "3 of 12 images"),
        (group_of_other_type, "wrong-units", "12 of 12 images"),
    ],
)
def test_frames_of_a_ct_need_a_rescale_to_hounsfield_units(
    tmp_path: Path, change: Edit, code: str, fact: str
) -> None:
    scan = make(tmp_path / "classic", Phantom(modality="CT"))
    path = enhance(scan, tmp_path / "enhanced.dcm", change=change)
    with pytest.raises(errors.Unsuitable) as caught:
        survey(read_headers(path))
    assert caught.value.code == code
    assert fact in caught.value.message
    assert "(frame " in caught.value.message


def test_some_mr_frames_without_a_rescale_have_mixed_units(tmp_path: Path) -> None:
    path = enhance(make(tmp_path / "c"), tmp_path / "e.dcm", change=group_without_rescale)
    with pytest.raises(errors.MixedUnits, match="3 of 12 images have no Rescale Slope"):
        survey(read_headers(path))


def test_more_images_cure_no_missing_rescale(tmp_path: Path) -> None:
    """The order of problems: a gap may be filled by images that still arrive, so it comes first."""
    phantom = Phantom(modality="CT", change=in_slices(NO_RESCALE), drop=(5,))
    scan = make(tmp_path, phantom)
    with pytest.raises(errors.MissingSlice):
        survey([header for path in scan.paths for header in read_headers(path)])
