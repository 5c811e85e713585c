"""The kind of an image by the values of Image Type, as manufacturers of CT and MR write them."""

from pathlib import Path

import msgspec
import pytest
from pydicom.uid import CTImageStorage, MRImageStorage

from node.series.header import Header
from node.series.kinds import derived_as, kind_of
from node.series.units import Units
from tests.support.image_types import CT, MR


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
        (r"DERIVED\SECONDARY", "CTA bone removal", "subtraction"),
        (r"DERIVED\SECONDARY", "ax Average IP", "thick-slab"),
        (r"DERIVED\SECONDARY", "MIPs ax", "projection"),
        (r"DERIVED\SECONDARY", "Curved MPR of a vessel", "projection"),
        (r"DERIVED\SECONDARY", "3D VR", "projection"),
        (r"DERIVED\SECONDARY", "RaySum cor", "projection"),
        (r"DERIVED\SECONDARY", "ax SUB 1", "subtraction"),
        (r"DERIVED\SECONDARY", "MPR thick cor", "thick-slab"),
        (r"DERIVED\SECONDARY", "AIP 10 mm", "thick-slab"),
        (r"DERIVED\SECONDARY", "T1map", "parametric-map"),
        (r"DERIVED\SECONDARY", "FA map", "parametric-map"),
        (r"DERIVED\SECONDARY", "Average DC", "parametric-map"),
        (r"DERIVED\SECONDARY", "ax DWI trace", "parametric-map"),
        (r"DERIVED\SECONDARY", "FatFrac: IDEAL IQ", "parametric-map"),
        (r"DERIVED\SECONDARY", "R2*: IDEAL IQ", "parametric-map"),
        (r"DERIVED\SECONDARY", "Ktrans", "parametric-map"),
        (r"DERIVED\SECONDARY", "(Transit delay) 3D ASL", "parametric-map"),
        (r"DERIVED\SECONDARY", "Lung PBV", "parametric-map"),
        (r"DERIVED\SECONDARY", "Uric Acid", "parametric-map"),
        (r"DERIVED\SECONDARY", "Calcium Suppressed 50", "parametric-map"),
        (r"DERIVED\SECONDARY", "Screen Save", "secondary-capture"),
        (r"DERIVED\SECONDARY", "dADC", "mark"),
        (r"DERIVED\SECONDARY", "VIBE FA 15 cor", "mark"),  # of flip angle 15
        (r"DERIVED\SECONDARY", "Iodine removed", "mark"),
        (r"DERIVED\SECONDARY", "lumbar fusion MPR", "mark"),
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
