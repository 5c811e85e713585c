"""The kind of an image by the values of Image Type, as manufacturers of CT and MR write them."""

from pathlib import Path

import msgspec
import pytest
from pydicom.uid import CTImageStorage, MRImageStorage

from node.series.header import Header
from node.series.kinds import derived_as, kind_of
from node.series.units import Units

# kind -> Image Types; "run": original slices, "mark": slices that run with a caveat
CT = {
    "run": (
        r"ORIGINAL\PRIMARY\AXIAL\CT_SOM5 SPI",
        r"ORIGINAL\PRIMARY\AXIAL\CT_SOM7 SPI DUAL\STD\SNRG\DET_AB",
        r"ORIGINAL\PRIMARY\AXIAL\CT_SOM10 DET3D",
        r"ORIGINAL\PRIMARY\AXIAL\HELIX",
        r"ORIGINAL\PRIMARY\AXIAL\JP2K LOSSY 6:1",
        r"ORIGINAL\PRIMARY\AXIAL\LOW_DOSE",
        r"ORIGINAL\PRIMARY\AXIAL\VOLUME",
    ),
    "mark": (
        r"DERIVED\SECONDARY\AXIAL\VMI",
        r"ORIGINAL\PRIMARY\AXIAL\VMI",
        r"ORIGINAL\PRIMARY\AXIAL\MONO_E",
        r"ORIGINAL\PRIMARY\AXIAL\MONOENERGETIC",
        r"ORIGINAL\PRIMARY\AXIAL\MONOE 70KEV",
        r"ORIGINAL\PRIMARY\AXIAL\CT_SOM7 MONO",
        r"ORIGINAL\PRIMARY\AXIAL\GSI MONO",
        r"ORIGINAL\PRIMARY\AXIAL\MONOCHROMATIC",
        r"DERIVED\SECONDARY\AXIAL\CT_SOM8 DEOC",
        r"ORIGINAL\PRIMARY\AXIAL\VNC",
        r"ORIGINAL\PRIMARY\AXIAL\CT_SOM7 VNC",
        r"DERIVED\PRIMARY\AXIAL\VIRTUAL UNENHANCED",
        r"DERIVED\PRIMARY\AXIAL\VIRTUAL_UNENHANCED",
        r"ORIGINAL\PRIMARY\AXIAL\VUE",
        r"ORIGINAL\PRIMARY\AXIAL\VIRTUAL_NON_CONTRAST",
        r"ORIGINAL\PRIMARY\AXIAL\VIRTUAL NONCONTRAST",
        r"DERIVED\PRIMARY\AXIAL\MAT_REMOVED",
        r"DERIVED\PRIMARY\AXIAL\MAT_MODIFIED",
        r"DERIVED\PRIMARY\AXIAL\IODINE_REMOVED",
        r"DERIVED\PRIMARY\AXIAL\IODINE SUPPRESSED",
        r"DERIVED\PRIMARY\AXIAL\COMBINED",
        r"ORIGINAL\PRIMARY\AXIAL\COMBINED",
        r"DERIVED\PRIMARY\AXIAL\WATER",
        r"DERIVED\SECONDARY\REFORMATTED",
    ),
    "secondary-capture": (
        r"DERIVED\SECONDARY\SCREEN SAVE",
        r"ORIGINAL\PRIMARY\DOSE",
        r"DERIVED\SECONDARY\OTHER\CT_SOM7 PROT",
        r"DERIVED\SECONDARY\HISTOGRAM",
        r"DERIVED\SECONDARY\OTHER\CT_SOM5 SCREEN",
    ),
    "localizer": (
        r"ORIGINAL\PRIMARY\LOCALIZER\CT_SOM7 TOP",
        r"ORIGINAL\PRIMARY\SCOUT",
        r"ORIGINAL\PRIMARY\SURVIEW",
        r"ORIGINAL\PRIMARY\TOPO",
        r"ORIGINAL\PRIMARY\SCANOGRAM",
        r"ORIGINAL\PRIMARY\AXIAL\CT_SOM5 TOPO",
    ),
    "projection": (
        r"DERIVED\SECONDARY\AXIAL\CT_SOM7 VPCT\MIP",
        r"DERIVED\SECONDARY\3D",
        r"DERIVED\SECONDARY\AXIAL\3D",
        r"DERIVED\SECONDARY\AXIAL\3D_VIEW",
        r"DERIVED\SECONDARY\VOLREN",
        r"DERIVED\SECONDARY\VOLUME_RENDERED",
        r"DERIVED\SECONDARY\CINEMATIC RENDERING",
        r"DERIVED\SECONDARY\CT_SOM7 VRTHIN",
        r"DERIVED\SECONDARY\REFORMATTED\MIN IP",
        r"DERIVED\SECONDARY\MPR\CSA MPR\\CSACURVED",
        r"DERIVED\SECONDARY\AXIAL\MIDA",
        r"DERIVED\SECONDARY\3DPANORAMA",
        r"DERIVED\SECONDARY\ENDOVIEW",
        r"DERIVED\SECONDARY\RIB UNFOLD",
    ),
    "subtraction": (
        r"DERIVED\SECONDARY\AXIAL\BONE REMOVAL",
        r"DERIVED\SECONDARY\AXIAL\CT_SOM7 BONE REMOVED",
    ),
    "parametric-map": (
        r"DERIVED\PRIMARY\AXIAL\IODINE",
        r"DERIVED\PRIMARY\AXIAL\IODINE(WATER)",
        r"DERIVED\PRIMARY\AXIAL\WATER(IODINE)",
        r"DERIVED\PRIMARY\AXIAL\IODINE_NO_WATER",
        r"DERIVED\PRIMARY\AXIAL\MD",
        r"ORIGINAL\PRIMARY\AXIAL\MD",
        r"DERIVED\PRIMARY\AXIAL\GSI MD",
        r"DERIVED\PRIMARY\AXIAL\MD WATER",
        r"DERIVED\PRIMARY\AXIAL\MAT_DENSITY",
        r"DERIVED\PRIMARY\AXIAL\MATERIAL DENSITY",
        r"DERIVED\PRIMARY\AXIAL\MAT_SPECIFIC",
        r"DERIVED\PRIMARY\AXIAL\ZEFFECTIVE",
        r"DERIVED\PRIMARY\AXIAL\Z_EFF",
        r"DERIVED\PRIMARY\AXIAL\IODINE_DENSITY",
        r"DERIVED\PRIMARY\AXIAL\IODINEDENSITY",
        r"DERIVED\PRIMARY\AXIAL\CALCIUM SUPPRESSED",
        r"DERIVED\SECONDARY\AXIAL\CT_SOM7 VPCT\BF",
        r"DERIVED\SECONDARY\AXIAL\CT_SOM7 DE LPBV",
        r"DERIVED\SECONDARY\AXIAL\EFFECTIVE Z",
        r"DERIVED\SECONDARY\AXIAL\EFFECTIVE ATOMIC NUMBER",
        r"DERIVED\SECONDARY\AXIAL\HYDROXYAPATITE",
        r"DERIVED\SECONDARY\AXIAL\SEGMENTATION",
        r"DERIVED\SECONDARY\AXIAL\CT_SOM8 PERF\MTT",
        r"DERIVED\SECONDARY\AXIAL\CT_SOM8 PERF",
        r"DERIVED\SECONDARY\AXIAL\CT PERFUSION\TMAX",
        r"DERIVED\SECONDARY\PERFUSION\BV",
        r"DERIVED\SECONDARY\AXIAL\MPR FUSION",
    ),
    "thick-slab": (
        r"DERIVED\SECONDARY\AXIAL\CT_SOM7 VPCT\AVG",
        r"DERIVED\SECONDARY\REFORMATTED\AVERAGE",
        r"DERIVED\SECONDARY\AXIAL\THICKMPR",
        r"DERIVED\SECONDARY\AXIAL\MEAN",
        r"DERIVED\SECONDARY\AXIAL\4DAVG",
    ),
}
MR = {
    "run": (
        r"ORIGINAL\PRIMARY\SCOUTED",
        r"ORIGINAL\PRIMARY\UNSCOUTED",
        r"ORIGINAL\PRIMARY\M\ND\NORM",
        r"ORIGINAL\PRIMARY\M_FFE\M\FFE",
        r"ORIGINAL\PRIMARY\M_PCA\M\PCA",
        r"ORIGINAL\PRIMARY\M\DIS2D\COMP_AD\COMPOSED",
        r"ORIGINAL\PRIMARY\T1\NONE",
        r"ORIGINAL\PRIMARY\T2_STAR\NONE",
        r"ORIGINAL\PRIMARY\PERFUSION\NONE",
        r"ORIGINAL\PRIMARY\ASL",
        r"ORIGINAL\PRIMARY\M\DIS2D\MEAN",
        r"ORIGINAL\PRIMARY\SWI\NONE",
        r"ORIGINAL\PRIMARY\M\SWI\NORM\DIS2D",
    ),
    "mark": (
        r"DERIVED\PRIMARY\M\NORM\DIS2D\MFSPLIT",
        r"DERIVED\PRIMARY\M\NORM\WATER\DIS2D\MFSPLIT",
        r"DERIVED\PRIMARY\DIXON\WATER",
        r"DERIVED\PRIMARY\DIXON\IN_PHASE",
        r"DERIVED\PRIMARY\IP\IP\DERIVED",
        r"DERIVED\PRIMARY\T1\UNIFORM\PARALLEL\DIS3D\MFSPLIT",
        r"DERIVED\PRIMARY\T1\SYNTHETIC",
        r"DERIVED\PRIMARY\T2\SYNTHETIC\CSF",
        r"DERIVED\PRIMARY\T1\NONE",
        r"DERIVED\PRIMARY\T2\RESAMPLED",
        r"DERIVED\PRIMARY\M\UNI\DIS3D",
        r"DERIVED\PRIMARY\MAVRIC\MAVRIC_COMPOSITE",
        r"ORIGINAL\PRIMARY\R\NORM\DIS2D",
        r"ORIGINAL\PRIMARY\R_IR\R\IR",
    ),
    "secondary-capture": (
        r"DERIVED\SECONDARY\POSDISP\M\ND\NORM",
        r"ORIGINAL\SECONDARY\GSP\ND",
        r"DERIVED\SECONDARY\PASTED",
        r"DERIVED\SECONDARY\SCROLL",
        r"DERIVED\SECONDARY\MR ERROR MESSAGE",
    ),
    "localizer": (
        r"ORIGINAL\PRIMARY\AAHSCOUT",
        r"ORIGINAL\PRIMARY\3-PLANE LOC",
        r"ORIGINAL\PRIMARY\LOC",
        r"ORIGINAL\PRIMARY\LOC3",
        r"ORIGINAL\PRIMARY\PILOT",
        r"ORIGINAL\SECONDARY\LOCALIZER\S",
    ),
    "projection": (
        r"DERIVED\PRIMARY\SWI\MINIMUM",
        r"DERIVED\SECONDARY\PJN\HD MIP",
        r"DERIVED\PRIMARY\CPR_STAR\NORM\DISTORTED",
        r"ORIGINAL\PRIMARY\PROJECTION IMAG\M\FFE",
    ),
    "subtraction": (
        r"DERIVED\PRIMARY\OTHER\SUBTRACT",
        r"DERIVED\PRIMARY\M\SUBTRACTION",
    ),
    "parametric-map": (
        r"DERIVED\SECONDARY\DIXON_FF",
        r"DERIVED\PRIMARY\KEP",
        r"DERIVED\PRIMARY\T1",
        r"DERIVED\PRIMARY\T1\ND",
        r"DERIVED\PRIMARY\T2_STAR",
        r"DERIVED\PRIMARY\T2_STAR\T2_STAR\DERIVED",
        r"DERIVED\PRIMARY\T2\DIS2D",
        r"DERIVED\PRIMARY\T2*",
        r"DERIVED\PRIMARY\R2*",
        r"DERIVED\PRIMARY\R2_STAR\R2_STAR\DERIVED",
        r"DERIVED\PRIMARY\T1RHO",
        r"DERIVED\PRIMARY\PD",
        r"ORIGINAL\PRIMARY\T1 MAP",
        r"DERIVED\PRIMARY\T2_STAR\QUANTITY",
        r"DERIVED\PRIMARY\MULTI_QMAP\T1",
        r"DERIVED\PRIMARY\QSM",
        r"DERIVED\PRIMARY\DIFFUSION\ADC\NORM\DIS2D",
        r"ORIGINAL\PRIMARY\ADC_SE\ADC\SE",
        r"ORIGINAL\PRIMARY\EADC_UNSPECIFIE\EADC\UNSPECIFIED",
        r"DERIVED\PRIMARY\DIFFUSION\EXP\ND",
        r"DERIVED\PRIMARY\DIFFUSION\TRACEW\DIS2D",
        r"ORIGINAL\PRIMARY\DIFFUSION\TRACEW\ND",
        r"DERIVED\PRIMARY\DIFFUSION\CALC_BVALUE\NORM",
        r"DERIVED\SECONDARY\ISODWI",
        r"DERIVED\PRIMARY\DIFFUSION\COLFA",
        r"DERIVED\PRIMARY\DIFFUSION\MD",
        r"DERIVED\SECONDARY\RCBF BASIC",
        r"DERIVED\SECONDARY\TMAX",
        r"DERIVED\PRIMARY\PERFUSION\RELCBV\DIS2D\MOCO",
        r"ORIGINAL\PRIMARY\PERFUSION\NONE\DIS2D\RELMTT",
        r"DERIVED\SECONDARY\OEF MODEL BASED",
        r"DERIVED\SECONDARY\RCMRO2 MODEL BASED",
        r"DERIVED\SECONDARY\RLEAKAGE",
        r"DERIVED\SECONDARY\COV",
        r"DERIVED\SECONDARY\CTH",
        r"DERIVED\PRIMARY\K2\K2\UNSPECIFIED",
        r"DERIVED\PRIMARY\PERFUSION\PBP\ND",
        r"DERIVED\PRIMARY\ASL\PERFUSION_ASL",
        r"DERIVED\PRIMARY\ASL",
        r"ORIGINAL\PRIMARY\P\DIS2D",
        r"ORIGINAL\PRIMARY\PHASE MAP\P\FFE",
        r"ORIGINAL\PRIMARY\V\ND",
        r"ORIGINAL\PRIMARY\I\ND",
        r"DERIVED\SECONDARY\MPR\CSA MPR\\CSAPARALLEL\P\NORM",
        r"ORIGINAL\PRIMARY\VELOCITY",
        r"ORIGINAL\PRIMARY\IMAGINARY",
    ),
}


def header(modality: str, image_type: str, unit: str = "", component: str = "") -> Header:
    return Header(
        path=Path(),
        sop_instance_uid="1.2.3",
        sop_class_uid=CTImageStorage if modality == "CT" else MRImageStorage,
        study_uid="1.2",
        series_uid="1.2",
        modality=modality,
        patient_digest="",
        image_type=tuple(image_type.split("\\")),
        units=Units(rescale_type=unit),
        complex_component=component,
    )


def decision(image: Header) -> str:
    kind, _ = kind_of(image)
    if kind is not None:
        return kind.value
    return "mark" if derived_as([image]) else "run"


@pytest.mark.parametrize(
    ("expected", "image_type"), [(kind, one) for kind, values in CT.items() for one in values]
)
def test_a_ct_in_hounsfield_units_is_judged_by_its_words(expected: str, image_type: str) -> None:
    assert decision(header("CT", image_type, "HU")) == expected


@pytest.mark.parametrize(
    ("expected", "image_type"), [(kind, one) for kind, values in MR.items() for one in values]
)
def test_an_mr_is_judged_by_its_words(expected: str, image_type: str) -> None:
    assert decision(header("MR", image_type)) == expected


@pytest.mark.parametrize(
    ("expected", "word", "unit"),
    [
        ("mark", "WATER", "HU"),
        ("parametric-map", "WATER", ""),
        ("parametric-map", "WATER", "US"),
        ("mark", "VNC", ""),
        ("mark", "MONOENERGETIC", ""),
        ("parametric-map", "VNC", "US"),
        ("parametric-map", "VIRTUAL_UNENHANCED", "MGML"),
        ("parametric-map", "IODINE", "HU"),
    ],
)
def test_the_unit_decides_about_virtual_images_and_materials(
    expected: str, word: str, unit: str
) -> None:
    assert decision(header("CT", rf"DERIVED\PRIMARY\AXIAL\{word}", unit)) == expected


def test_words_of_ct_say_nothing_about_mr() -> None:
    assert decision(header("MR", r"ORIGINAL\PRIMARY\COMBINED")) == "run"
    assert decision(header("MR", r"ORIGINAL\PRIMARY\DIXON\WATER")) == "run"


@pytest.mark.parametrize(
    ("component", "expected"),
    [
        ("PHASE", "parametric-map"),
        ("IMAGINARY", "parametric-map"),
        ("REAL", "mark"),
        ("MAGNITUDE", "run"),
        ("MIXED", "run"),
    ],
)
def test_the_complex_component_of_an_mr_counts(component: str, expected: str) -> None:
    assert decision(header("MR", r"ORIGINAL\PRIMARY\OTHER", component=component)) == expected


@pytest.mark.parametrize(
    ("units", "expected"),
    [
        (("1",), "run"),
        (("{counts}",), "run"),
        (("unknown",), "run"),
        (("ms",), "parametric-map"),
        (("um2/s",), "parametric-map"),
        (("1", "ms"), "run"),
    ],
)
def test_real_world_units_of_an_mr_name_a_quantity(units: tuple[str, ...], expected: str) -> None:
    image = header("MR", r"ORIGINAL\PRIMARY\OTHER")
    image = msgspec.structs.replace(image, units=Units(real_world=units))
    assert decision(image) == expected


@pytest.mark.parametrize(
    ("image_type", "description", "expected"),
    [
        (r"DERIVED\SECONDARY", "Ax MIP 10/2", "projection"),
        (r"DERIVED\SECONDARY", "maximum intensity projection", "projection"),
        (r"DERIVED\SECONDARY", "Iodine Density [mg/ml]", "parametric-map"),
        (r"DERIVED\SECONDARY", "Z-effective", "parametric-map"),
        (r"DERIVED\SECONDARY", "dADC", "mark"),
        (r"DERIVED\SECONDARY", "MPR ax 1 mm", "mark"),
        (r"ORIGINAL\PRIMARY\AXIAL", "thin slices for MIP", "run"),
    ],
)
@pytest.mark.parametrize("field", ["series_description", "derivation_description"])
def test_descriptions_of_derived_images_count(
    image_type: str, description: str, expected: str, field: str
) -> None:
    image = msgspec.structs.replace(header("CT", image_type), **{field: description})
    assert decision(image) == expected


def test_each_way_of_derivation_is_counted() -> None:
    images = [header("MR", r"ORIGINAL\PRIMARY\M")] * 3
    images += [header("MR", r"DERIVED\SECONDARY\MPR")] * 2 + [header("MR", r"DERIVED\PRIMARY\M")]
    assert derived_as(images) == (
        "2 of 6 source images are reformatted, not original; "
        "1 of 6 source images are derived, not original"
    )
