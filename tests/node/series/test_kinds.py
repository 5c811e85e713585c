"""Kinds of images by the words of Image Type, as manufacturers write them."""

from pathlib import Path

import pytest

from node import errors
from node.series import read_headers, survey
from node.series.kinds import derived_as
from tests.support.odd_headers import coded, image_type, in_slices, sets
from tests.support.phantoms import Phantom, make

DERIVED = ("DERIVED", "SECONDARY")
NOT_SLICES = [
    ("projection", "CT", (*DERIVED, "AXIAL", "CT_SOM5 MIP")),
    ("projection", "CT", (*DERIVED, "AXIAL", "CT_SOM7 MINIP")),
    ("projection", "CT", (*DERIVED, "AXIAL", "CT_SOM5 VRT")),
    ("projection", "CT", (*DERIVED, "MPR", "CSA MIP", "", "CSAPARALLEL")),
    ("projection", "CT", (*DERIVED, "REFORMATTED", "MIN_IP")),
    ("projection", "CT", (*DERIVED, "AXIAL", "MAX IP")),
    ("projection", "CT", ("DERIVED", "PRIMARY", "AXIAL", "MAXIP")),
    ("projection", "CT", (*DERIVED, "RAY_SUM")),
    ("projection", "MR", ("ORIGINAL", "PRIMARY", "MNIP", "NORM", "DIS2D")),
    ("projection", "MR", ("ORIGINAL", "PRIMARY", "PROJECTION IMAGE", "M", "FFE")),
    ("projection", "MR", ("DERIVED", "PRIMARY", "PROJECTION IMAGE", "COLLAPSE")),
    ("projection", "MR", ("DERIVED", "PRIMARY", "MIP_SUM")),
    ("projection", "MR", (*DERIVED, "VOLUME RENDERED")),
    ("projection", "MR", (*DERIVED, "mip 10mm")),
    ("projection", "CT", (*DERIVED, "MAXIMUM INTENSITY PROJECTION")),
    ("projection", "CT", (*DERIVED, "CURVED_MPR")),
    ("projection", "MR", (*DERIVED, "THIN MIP")),
    ("thick-slab", "CT", (*DERIVED, "AVGIP")),
    ("projection", "CT", (*DERIVED, "MIPTHICK")),
    ("projection", "CT", (*DERIVED, "THINMIP")),
    ("projection", "CT", (*DERIVED, "MIP10X3")),
    ("projection", "MR", (*DERIVED, "SSMIP")),
    ("projection", "CT", (*DERIVED, "OTHER", "CSA 3D EDITOR")),
    ("thick-slab", "CT", (*DERIVED, "AVERAGEIP")),
    ("thick-slab", "CT", (*DERIVED, "MPRTHICK")),
    ("localizer", "CT", ("ORIGINAL", "PRIMARY", "SCANOSCOPE")),
    ("secondary-capture", "CT", (*DERIVED, "OTHER", "CT_SOM5 PROT")),
    ("subtraction", "CT", (*DERIVED, "SURESUBTRACTION")),
    ("parametric-map", "MR", ("DERIVED", "PRIMARY", "FF", "FF", "DERIVED")),
    ("parametric-map", "MR", ("DERIVED", "PRIMARY", "M", "STDDEV")),
    ("parametric-map", "CT", (*DERIVED, "WATER(IODINE)")),
    ("parametric-map", "MR", (*DERIVED, "T1MAP")),
    ("localizer", "MR", ("ORIGINAL", "PRIMARY", "SURVEY")),
    ("localizer", "CT", ("ORIGINAL", "PRIMARY", "LOCALIZER", "CT_SOM5 TOP")),
    ("localizer", "CT", ("ORIGINAL", "PRIMARY", "DUAL_SCANO")),
    ("localizer", "MR", ("ORIGINAL", "PRIMARY", "SCOUT")),
    ("secondary-capture", "CT", (*DERIVED, "SCREEN SAVE")),
    ("secondary-capture", "CT", (*DERIVED, "SCREENSHOT")),
    ("secondary-capture", "CT", (*DERIVED, "VXTL STATE")),
    ("secondary-capture", "CT", ("DERIVED", "PRIMARY", "DOSE_INFO")),
    ("subtraction", "MR", ("DERIVED", "PRIMARY", "M", "NORM", "SUB")),
    ("subtraction", "MR", (*DERIVED, "SUBTRACTION")),
    ("subtraction", "CT", (*DERIVED, "AXIAL", "CT_SOM5 SUB")),
    ("parametric-map", "CT", (*DERIVED, "AXIAL", "IODINE")),
    ("parametric-map", "CT", (*DERIVED, "AXIAL", "MAT_SPECIFIC")),
    ("parametric-map", "CT", (*DERIVED, "AXIAL", "ELECTRON_DENSITY")),
    ("parametric-map", "MR", ("DERIVED", "PRIMARY", "DIFFUSION", "ADC", "ND")),
    ("parametric-map", "MR", ("DERIVED", "PRIMARY", "PERFUSION", "CBV")),
    ("parametric-map", "MR", ("DERIVED", "PRIMARY", "PERFUSION_RELCBF")),
    ("parametric-map", "MR", ("DERIVED", "PRIMARY", "M", "T2 MAP")),
    ("parametric-map", "MR", ("DERIVED", "PRIMARY", "PHASE MAP")),
    ("parametric-map", "MR", ("ORIGINAL", "PRIMARY", "P", "ND")),
    ("thick-slab", "CT", (*DERIVED, "REFORMATTED", "AVERAGE")),
    ("thick-slab", "CT", (*DERIVED, "MPR", "CSA MPR THICK")),
    ("thick-slab", "CT", ("DERIVED", "PRIMARY", "AXIAL", "AVG")),
]
SLICES = [
    ("CT", ("ORIGINAL", "PRIMARY", "AXIAL", "CT_SOM5 SPI"), ""),
    ("CT", ("ORIGINAL", "PRIMARY", "AXIAL", "HELIX"), ""),
    ("CT", ("ORIGINAL", "PRIMARY", "AXIAL", "ADD"), ""),
    ("MR", ("ORIGINAL", "PRIMARY", "M", "ND", "NORM", "DIS3D"), ""),
    ("MR", ("ORIGINAL", "PRIMARY", "M_FFE", "M", "FFE"), ""),
    ("MR", ("ORIGINAL", "PRIMARY", "PERFUSION", "NONE"), ""),
    ("MR", ("ORIGINAL", "PRIMARY", "GDC"), ""),
    ("MR", ("ORIGINAL", "PRIMARY", "DIXON", "WATER"), ""),
    ("CT", (*DERIVED, "AXIAL", "CT_SOM5 MPR"), "reformatted"),
    ("CT", (*DERIVED, "REFORMATTED"), "reformatted"),
    ("MR", ("DERIVED", "PRIMARY", "MPR", "NORM", "DIS2D"), "reformatted"),
    ("CT", (*DERIVED, "MULTI_PLANAR_RECON"), "reformatted"),
    ("CT", (*DERIVED, "MPRTHIN"), "reformatted"),
    ("CT", (*DERIVED, "AXIAL", "VMI"), "derived"),
    ("MR", ("DERIVED", "SECONDARY", "OTHER"), "derived"),
]


@pytest.mark.parametrize(("code", "modality", "values"), NOT_SLICES)
def test_words_inside_image_type_name_the_kind(
    tmp_path: Path, code: str, modality: str, values: tuple[str, ...]
) -> None:
    phantom = Phantom(modality=modality, change=in_slices(image_type(*values)))
    scan = make(tmp_path, phantom)
    with pytest.raises(errors.NotAnImage) as caught:
        survey([header for path in scan.paths for header in read_headers(path)])
    assert caught.value.code == code
    assert caught.value.advice


@pytest.mark.parametrize(("modality", "values", "marked"), SLICES)
def test_faithful_slices_run_and_derived_ones_are_marked(
    tmp_path: Path, modality: str, values: tuple[str, ...], marked: str
) -> None:
    phantom = Phantom(modality=modality, change=in_slices(image_type(*values)))
    scan = make(tmp_path, phantom)
    surveyed = survey([header for path in scan.paths for header in read_headers(path)])
    note = derived_as(surveyed.headers)
    assert bool(note) == bool(marked)
    assert marked in note


@pytest.mark.parametrize(
    ("derivation", "code"),
    [
        ("113078", "projection"),
        ("113062", "subtraction"),
        ("113049", "thick-slab"),
        ("129104", "parametric-map"),
    ],
)
def test_a_derivation_code_names_the_kind(tmp_path: Path, derivation: str, code: str) -> None:
    scan = make(tmp_path, Phantom(change=in_slices(coded("DerivationCodeSequence", derivation))))
    with pytest.raises(errors.NotAnImage) as caught:
        survey([header for path in scan.paths for header in read_headers(path)])
    assert caught.value.code == code


def test_the_phase_of_an_mr_is_no_anatomy(tmp_path: Path) -> None:
    scan = make(tmp_path, Phantom(change=in_slices(sets(ComplexImageComponent="PHASE"))))
    with pytest.raises(errors.ParametricMap):
        survey([header for path in scan.paths for header in read_headers(path)])


def test_one_computed_slice_makes_the_series_unsuitable(tmp_path: Path) -> None:
    scan = make(tmp_path, Phantom(change=in_slices(image_type(*DERIVED, "ADC"), (4,))))
    with pytest.raises(errors.ParametricMap, match="1 of 12 images"):
        survey([header for path in scan.paths for header in read_headers(path)])


@pytest.mark.parametrize(
    ("thickness_mm", "distance_mm", "derived", "is_slab"),
    [
        (10, 1, False, True),  # a sliding projection without a word
        (10, 1, True, True),
        (10, 2, False, True),
        (10, 3, False, True),
        (10, 5, False, False),
        (5, 1, True, True),
        (8, 3, True, True),
        (3, 1, True, True),
        (1, 1, False, False),
        (5, 2.5, False, False),
        (2.5, 0.625, False, False),
        (3, 1, False, False),
        (1.5, 0.7, True, False),
        (2, 0.5, True, False),
        (5, 3, True, False),
        (1, 10, False, False),  # thin slices with gaps
        (5, 6.5, False, False),
        (None, 1, True, False),
    ],
)
def test_thick_overlapping_slabs_are_no_slices(
    tmp_path: Path, thickness_mm: float | None, distance_mm: float, derived: bool, is_slab: bool
) -> None:
    values = (*DERIVED, "MPR") if derived else ("ORIGINAL", "PRIMARY", "AXIAL")
    edit = sets(SliceThickness=thickness_mm, ImageType=list(values))
    phantom = Phantom(spacing_mm=(distance_mm, 1.0, 1.0), change=in_slices(edit))
    scan = make(tmp_path, phantom)
    headers = [header for path in scan.paths for header in read_headers(path)]
    if not is_slab:
        assert bool(derived_as(survey(headers).headers)) == derived
        return
    with pytest.raises(errors.ThickSlab) as caught:
        survey(headers)
    assert f"{distance_mm:g} mm" in caught.value.message
    assert caught.value.advice
