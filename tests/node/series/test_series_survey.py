"""Geometry without pixels: which images make a volume, and the code of each problem."""

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from node import errors
from node.series import Header, Survey, read_headers, survey
from tests.support.phantoms import PLANES, UNSUITABLE_PHANTOMS, Phantom, Scan, make


def headers(scan: Scan) -> list[Header]:
    return [header for path in scan.paths for header in read_headers(path)]


@pytest.mark.parametrize("plane", PLANES)
@pytest.mark.parametrize("reverse", [False, True])
def test_the_grid_is_that_of_the_phantom(tmp_path: Path, plane: str, reverse: bool) -> None:
    scan = make(tmp_path, Phantom(plane=plane, reverse=reverse, shuffle=not reverse))
    surveyed = survey(headers(scan))
    assert surveyed.grid.is_close(scan.grid, 1e-6)
    assert [h.sop_instance_uid for h in surveyed.headers] == scan.uids
    assert surveyed.dropped == ()


def test_slice_thickness_and_claimed_spacing_do_not_matter(tmp_path: Path) -> None:
    scan = make(tmp_path, Phantom(tags={"SliceThickness": "5", "SpacingBetweenSlices": "7"}))
    assert survey(headers(scan)).grid.is_close(scan.grid, 1e-6)


@pytest.mark.parametrize(
    ("phantom", "error", "message"),
    [
        (Phantom(drop=(5,)), errors.MissingSlice, "1 slice is missing.* 6.00 mm.* 3.00 mm"),
        (Phantom(drop=(3, 7, 8)), errors.MissingSlice, "3 slices are missing"),
        (Phantom(shape=(3, 20, 16), drop=(1,)), None, ""),  # of two slices, none can be missing
        (Phantom(tilt_deg=12), errors.GantryTilt, "12.0 degrees"),
        (Phantom(tilt_deg=-3), errors.GantryTilt, "3.0 degrees"),
        (Phantom(tilt_deg=0.05), None, ""),
        (
            Phantom(shape=(5, 20, 16), at_mm=(0, 3, 6, 10.2, 13)),
            errors.UnevenSpacing,
            "from 2.80 to 4.20 mm",
        ),
        (  # 0.1 mm rounding
            Phantom(
                shape=(5, 20, 16),
                at_mm=(0, 0.6, 1.3, 1.9, 2.5),
                tags={"SliceThickness": "0.6"},
            ),
            None,
            "",
        ),
        (Phantom(shape=(4, 20, 16), at_mm=(0, 3, 3, 6)), errors.DuplicatePositions, "43.00 mm"),
        (
            Phantom(shape=(6, 20, 16), at_mm=(0, 0, 3, 3, 6, 6)),
            errors.FourDimensional,
            "6 images at 3 places",
        ),
        (Phantom(shape=(1, 20, 16)), errors.TooFewSlices, "1 slice"),
        (Phantom(tags={"FrameOfReferenceUID": ""}), errors.NoFrameOfReference, "Frame of"),
        (Phantom(tags={"NumberOfFrames": 12}), errors.EnhancedMultiFrame, "12 frames"),
        (
            Phantom(tags={"SOPClassUID": "1.2.840.10008.5.1.4.1.1.4.1"}),
            errors.EnhancedMultiFrame,
            "1 frame, and its functional groups describe 0",
        ),
        (
            Phantom(tags={"ImageType": "ORIGINAL\\PRIMARY\\M\\ND\\MOSAIC"}),
            errors.FourDimensional,
            "mosaic",
        ),
        (
            Phantom(tags={"ImageType": "ORIGINAL\\PRIMARY\\LOCALIZER"}),
            errors.Localizer,
            "12 × loc",
        ),
        (Phantom(tags={"PixelSpacing": ["0", "0"]}), errors.NotAnImage, "no pixel spacing"),
        (
            Phantom(tags={"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7"}),
            errors.SecondaryCapture,
            "secondary capture",
        ),
    ],
)
def test_each_problem_has_its_error_and_its_numbers(
    tmp_path: Path, phantom: Phantom, error: type[errors.Unsuitable] | None, message: str
) -> None:
    # `tags` turns lists into DICOM sequences; strings with a backslash become several values
    scan = make(tmp_path, phantom if "PixelSpacing" not in phantom.tags else _no_spacing())
    if error is None:
        survey(headers(scan))
        return
    with pytest.raises(error, match=message) as caught:
        survey(headers(scan))
    assert type(caught.value) is error
    assert caught.value.advice
    assert "CANARY" not in str(caught.value)


def _no_spacing() -> Phantom:
    def change(dataset: Dataset, _z: int) -> None:
        dataset.PixelSpacing = ["0", "0"]

    return Phantom(change=change)


@pytest.mark.parametrize("code", UNSUITABLE_PHANTOMS)
def test_each_unsuitable_phantom_has_its_code(tmp_path: Path, code: str) -> None:
    scan = make(tmp_path, UNSUITABLE_PHANTOMS[code])
    with pytest.raises(errors.Unsuitable) as caught:
        survey(headers(scan))
    assert caught.value.code == code


def test_a_series_without_instances_is_unsuitable() -> None:
    with pytest.raises(errors.NotAnImage):
        survey([])


def test_echoes_at_the_same_places_are_four_dimensional(tmp_path: Path) -> None:
    one = headers(make(tmp_path))
    two = [
        msgspec.structs.replace(h, sop_instance_uid=h.sop_instance_uid + ".1", echo_time_ms=9.0)
        for h in one[:-2]
    ]
    with pytest.raises(errors.FourDimensional, match="echo times"):
        survey(one + two)


@pytest.mark.parametrize(
    ("identifier", "field"),
    [
        ("patients", "patient_digest"),
        ("studies", "study_uid"),
        ("series", "series_uid"),
        ("frames of reference", "frame_of_reference_uid"),
    ],
)
def test_contradicting_identities_are_conflicts(
    tmp_path: Path, identifier: str, field: str
) -> None:
    slices = headers(make(tmp_path))
    slices[3] = msgspec.structs.replace(slices[3], **{field: "1.2.3"})
    with pytest.raises(errors.Conflicting, match=identifier):
        survey(slices)


@pytest.mark.parametrize(
    ("absent", "other", "problem"),
    [
        ("issuer_digest", "issuer_digest", "issuers"),
        ("patient_digest", "birth_digest", "2 different patients by birth date"),
    ],
)
def test_an_absent_identifier_is_unknown(
    tmp_path: Path, absent: str, other: str, problem: str
) -> None:
    some = [
        msgspec.structs.replace(header, **{absent: "a" if at % 2 else ""})
        for at, header in enumerate(headers(make(tmp_path)))
    ]
    assert len(survey(some).headers) == 12
    some[0] = msgspec.structs.replace(some[0], **{other: "b"})
    with pytest.raises(errors.Conflicting, match=problem):
        survey(some)


@pytest.mark.parametrize(
    ("field", "values", "differ"),
    [
        ("echo_time_ms", (3.0, 80.0), True),
        ("echo_time_ms", (80.0, 80.4), False),
        ("echo_time_ms", (0.0, 80.0), False),  # 0: unknown
        ("b_value", (0.0, 1000.0), True),
        ("b_value", (995.0, 1005.0), False),
        ("b_value", (None, 1000.0), False),
        ("image_type", (("DERIVED", "PRIMARY", "W"), ("DERIVED", "PRIMARY", "F")), True),
        ("image_type", (("ORIGINAL", "PRIMARY", "M"), ("ORIGINAL", "PRIMARY", "W")), False),
        ("temporal_position", (1, 2), False),
        ("acquisition_number", (1, 2), False),
    ],
)
def test_slices_of_several_contrasts_make_no_volume(
    tmp_path: Path, field: str, values: tuple[Any, Any], differ: bool
) -> None:
    slices = [
        msgspec.structs.replace(header, **{field: values[at // 6]})
        for at, header in enumerate(headers(make(tmp_path)))
    ]
    if not differ:
        assert len(survey(slices).headers) == 12
        return
    with pytest.raises(errors.FourDimensional, match="parts of several volumes"):
        survey(slices)


def test_a_gap_names_the_images_that_were_left_out(tmp_path: Path) -> None:
    slices = headers(make(tmp_path))
    slices[4] = msgspec.structs.replace(slices[4], image_type=("DERIVED", "SECONDARY", "MIP"))
    with pytest.raises(errors.MissingSlice, match=r"left out: 1 × projection \(MIP\)"):
        survey(slices)


def test_a_coerced_copy_of_an_instance_counts_once(tmp_path: Path) -> None:
    slices = headers(make(tmp_path))
    copy = msgspec.structs.replace(
        slices[0], path=Path("copy"), series_description="Other", issuer_digest="a"
    )
    assert len(survey([*slices, copy]).dropped) == 1


def test_one_uid_with_two_geometries_is_a_conflict(tmp_path: Path) -> None:
    slices = headers(make(tmp_path))
    moved = msgspec.structs.replace(slices[0], position_mm=(9.0, 9.0, 9.0))
    with pytest.raises(errors.Conflicting):
        survey([*slices, moved])


def test_the_same_instance_twice_counts_once(tmp_path: Path) -> None:
    scan = make(tmp_path)
    surveyed = survey([*headers(scan), *read_headers(scan.paths[0])])
    assert surveyed.grid.is_close(scan.grid, 1e-6)
    assert [d.reason for d in surveyed.dropped] == ["duplicate instance"]


def stray(scan: Scan, folder: Path, **values: object) -> Header:
    def change(dataset: Dataset, _z: int) -> None:
        dataset.SOPInstanceUID = generate_uid()
        for keyword, value in values.items():
            setattr(dataset, keyword, value)

    (header,) = headers(make(folder, Phantom(shape=(1, 20, 16), change=change)))
    return header


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, "localizer"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7"}, "secondary capture"),
        ({"SamplesPerPixel": 3}, "colour image"),
        ({"ImageOrientationPatient": ["1", "0", "0", "0", "0", "-1"]}, "another size or direction"),
        ({"Rows": 10}, "another size or direction"),
        ({"ImagePositionPatient": None}, "no position"),
        ({"ImageOrientationPatient": ["1", "0", "0", "1", "0", "0"]}, "not perpendicular"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.88.67", "Rows": None}, "no image"),
    ],
)
def test_a_stray_object_is_left_out_and_listed(
    tmp_path: Path, values: dict[str, object], reason: str
) -> None:
    scan = make(tmp_path / "series")
    other = stray(scan, tmp_path / "stray", **values)
    surveyed = survey([other, *headers(scan)])
    assert surveyed.grid.is_close(scan.grid, 1e-6)
    assert [d.sop_instance_uid for d in surveyed.dropped] == [other.sop_instance_uid]
    assert reason in surveyed.dropped[0].reason


def test_two_directions_in_one_series_are_unsuitable(tmp_path: Path) -> None:
    def turn(dataset: Dataset, z: int) -> None:
        if z % 3 == 0:
            dataset.ImageOrientationPatient = ["1", "0", "0", "0", "0", "-1"]

    with pytest.raises(errors.MixedOrientation, match="2 different sizes or directions: 8 ×"):
        survey(headers(make(tmp_path, Phantom(change=turn))))


def test_at_most_a_few_directions_are_told_apart(tmp_path: Path) -> None:
    one = headers(make(tmp_path, Phantom(shape=(2, 20, 16))))[0]
    turned = [
        msgspec.structs.replace(
            one,
            sop_instance_uid=f"1.2.{n}",
            orientation=(np.cos(n), np.sin(n), 0.0, -np.sin(n), np.cos(n), 0.0),
        )
        for n in range(2000)
    ]
    # comparing each with each would take minutes
    with pytest.raises(errors.MixedOrientation, match="more than 5 different sizes or directions"):
        survey(turned)


def test_a_stray_image_in_the_middle_leaves_a_missing_slice(tmp_path: Path) -> None:
    def change(dataset: Dataset, z: int) -> None:
        if z == 5:
            dataset.Rows, dataset.PixelData = 10, dataset.PixelData[: 10 * 16 * 2]

    with pytest.raises(errors.MissingSlice):
        survey(headers(make(tmp_path, Phantom(change=change))))


def test_the_order_of_headers_does_not_matter(tmp_path: Path) -> None:
    slices = headers(make(tmp_path, Phantom(plane="oblique")))
    rng = np.random.default_rng(0)
    results: list[Survey] = [survey([slices[i] for i in rng.permutation(12)]) for _ in range(5)]
    assert all(result.headers == results[0].headers for result in results)
