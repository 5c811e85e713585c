"""Headers: which values are read, which are absent, and which never appear."""

import contextlib
import random
from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import Dataset

from node.errors import NotAnImage
from node.series import read_headers
from node.series.header import header_of
from tests.support.phantoms import CANARY, Phantom, make


def test_a_header_holds_the_values_of_the_instance(tmp_path: Path) -> None:
    scan = make(tmp_path, Phantom(tags={"ImagesInAcquisition": 12, "EchoTime": "3.5"}))
    header = read_headers(scan.paths[0])[0]
    assert (header.modality, header.rows, header.columns) == ("MR", 20, 16)
    assert header.pixel_spacing_mm == (1.25, 1.5)
    assert header.expected_instances == 12
    assert header.echo_time_ms == 3.5
    assert header.image_type == ("ORIGINAL", "PRIMARY", "M")
    assert header.sop_instance_uid in scan.uids
    assert header.transfer_syntax_uid == "1.2.840.10008.1.2.1"


def test_a_header_holds_what_rules_compare(tmp_path: Path) -> None:
    tags = {
        "StudyDescription": "Brain routine", "SequenceName": "*tfl3d1", "StationName": "MR07",
        "ContrastBolusAgent": "Gadovist", "Manufacturer": "SIEMENS", "PatientAge": "018M",
    }  # fmt: skip
    header = read_headers(make(tmp_path, Phantom(tags=tags)).paths[0])[0]
    assert (header.study_description, header.sequence_name) == ("Brain routine", "*tfl3d1")
    assert (header.contrast_agent, header.station_name) == ("Gadovist", "MR07")
    assert (header.manufacturer, header.patient_age_years) == ("SIEMENS", 1.5)


def test_enhanced_images_name_sequence_and_agent_elsewhere() -> None:
    agent = Dataset()
    agent.CodeMeaning = "Gadobutrol"
    header = header_of(
        _minimal(PulseSequenceName="tfl3d", ContrastBolusAgentSequence=[agent]), Path("x")
    )
    assert (header.sequence_name, header.contrast_agent) == ("tfl3d", "Gadobutrol")


@pytest.mark.parametrize(
    ("text", "years"),
    [("045Y", 45.0), ("45Y", 45.0), ("006M", 0.5), ("45", None), ("", None), ("old", None)],
)
def test_an_age_is_in_years(text: str, years: float | None) -> None:
    assert header_of(_minimal(PatientAge=text), Path("x")).patient_age_years == years


def test_the_series_count_wins_over_the_acquisition_count(tmp_path: Path) -> None:
    scan = make(
        tmp_path, Phantom(tags={"ImagesInAcquisition": 7, "NumberOfSeriesRelatedInstances": 12})
    )
    assert read_headers(scan.paths[0])[0].expected_instances == 12


def test_of_the_patient_only_a_digest_appears(tmp_path: Path) -> None:
    header = read_headers(make(tmp_path).paths[0])[0]
    assert CANARY not in repr(header)
    assert "CANARY" not in repr(header)
    assert len(header.patient_digest) == 64


@pytest.mark.parametrize(
    ("keyword", "value", "field"),
    [
        ("ImagePositionPatient", ["1", "2"], "position_mm"),
        ("ImageOrientationPatient", ["1", "0", "0"], "orientation"),
        ("PixelSpacing", ["1"], "pixel_spacing_mm"),
    ],
)
def test_a_vector_of_another_length_is_absent(keyword: str, value: list[str], field: str) -> None:
    assert getattr(header_of(_minimal(**{keyword: value}), Path("x")), field) is None


def test_letters_in_a_number_are_absent(tmp_path: Path) -> None:
    scan = make(tmp_path)
    raw = scan.paths[0].read_bytes()
    at = raw.index(b"\x18\x00\x50\x00DS") + 8  # SliceThickness, explicit VR
    scan.paths[0].write_bytes(raw[:at] + b"x.".ljust(2) + raw[at + 2 :])
    assert read_headers(scan.paths[0])[0].slice_thickness_mm is None


def test_infinity_is_not_a_position() -> None:
    dataset = _minimal()
    dataset.add_new(0x00200032, "LO", ["1", "inf", "2"])
    assert header_of(dataset, Path("x")).position_mm is None


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("MR", "MR"),
        ("mr ", "MR"),
        ("", ""),
        (None, ""),
        ("\x1b[2JMR", ""),
        ("M\x9bR", ""),
        ("MR\nCT", ""),
        (["MR", "CT"], ""),
        ("CANARY^WÜNSCH", ""),
        ("A" * 16, "A" * 16),
        ("A" * 17, ""),
    ],
)
def test_a_modality_is_a_code_or_absent(value: object, expected: str) -> None:
    dataset = _minimal()
    with pydicom.config.disable_value_validation():
        dataset.Modality = value
    assert header_of(dataset, Path("x")).modality == expected


@pytest.mark.parametrize(
    "keyword", ["SOPInstanceUID", "SOPClassUID", "StudyInstanceUID", "SeriesInstanceUID"]
)
def test_an_instance_without_one_of_its_uids_is_not_an_image(keyword: str) -> None:
    dataset = _minimal()
    delattr(dataset, keyword)
    with pytest.raises(NotAnImage, match=keyword):
        header_of(dataset, Path("x"))


@pytest.mark.parametrize("uid", ["1", "1.2\\3.4", "1.2.x", "../../x", "1.2 3", "1." + "2" * 63])
def test_an_instance_with_an_invalid_uid_is_not_an_image(uid: str) -> None:
    with pytest.raises(NotAnImage, match="invalid SOPInstanceUID"):
        header_of(_minimal(SOPInstanceUID=uid), Path("x"))


def test_an_invalid_frame_of_reference_is_absent() -> None:
    assert header_of(_minimal(FrameOfReferenceUID="x"), Path("x")).frame_of_reference_uid is None


def test_damage_before_the_pixels_is_not_an_image_or_harmless(tmp_path: Path) -> None:
    path = make(tmp_path).paths[0]
    raw = path.read_bytes()
    rng = random.Random(1)
    for _ in range(300):
        damaged = bytearray(raw)
        for _ in range(3):
            damaged[rng.randrange(132, len(raw) - 640)] = rng.randrange(256)
        path.write_bytes(damaged)
        with contextlib.suppress(NotAnImage):
            read_headers(path)


@pytest.mark.parametrize("content", [b"", b"hello", b"\0" * 128 + b"DICM", b"\0" * 128 + b"DICMxy"])
def test_a_file_that_is_not_dicom_is_not_an_image(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.dcm"
    path.write_bytes(content)
    with pytest.raises(NotAnImage):
        read_headers(path)


def test_an_absent_file_is_not_an_image(tmp_path: Path) -> None:
    with pytest.raises(NotAnImage):
        read_headers(tmp_path / "absent")


@pytest.mark.parametrize(
    ("values", "years"),
    [
        ({"PatientBirthDate": "20180601", "StudyDate": "20240601"}, 6.0),
        ({"PatientBirthDate": "2018.06.01", "StudyDate": "", "AcquisitionDate": "20240601"}, 6.0),
        ({"PatientAge": "", "PatientBirthDate": "19640601", "StudyDate": "20240601"}, 60.0),
        ({"PatientAge": "000Y", "PatientBirthDate": "20140601", "StudyDate": "20240601"}, 10.0),
        ({"PatientAge": "030Y", "PatientBirthDate": "20180601", "StudyDate": "20240601"}, 30.0),
        ({"PatientAge": "000Y", "PatientBirthDate": "20240601", "StudyDate": "20240601"}, 0.0),
        ({"PatientBirthDate": "18000101", "StudyDate": "20240601"}, None),  # stands for unknown
        ({"PatientBirthDate": "20250101", "StudyDate": "20240601"}, None),
        ({"PatientBirthDate": "20180230", "StudyDate": "20240601"}, None),
        ({"PatientBirthDate": "2018", "StudyDate": "20240601"}, None),
        ({"PatientBirthDate": "20180601"}, None),
    ],
)
def test_the_birth_date_tells_the_age_if_the_age_is_absent_or_0(
    values: dict[str, str], years: float | None
) -> None:
    with pydicom.config.disable_value_validation():
        age = header_of(_minimal(**values), Path("x")).patient_age_years
    assert age == (years if years is None else pytest.approx(years, abs=0.01))


def test_a_b_value_comes_from_the_standard_or_a_vendor() -> None:
    standard, siemens, ge = _minimal(), _minimal(), _minimal()
    standard.DiffusionBValue = 700.0
    siemens.add_new(0x0019100C, "IS", "1000")
    ge.add_new(0x00431039, "IS", ["1000000800", "8", "0", "0"])
    assert [header_of(d, Path("x")).b_value for d in (standard, siemens, ge)] == [700, 1000, 800]


def test_a_private_element_of_another_creator_is_no_b_value() -> None:
    other, siemens = _minimal(), _minimal()
    other.add_new(0x00190010, "LO", "GEMS_ACQU_01")
    other.add_new(0x0019100C, "IS", "7")
    siemens.add_new(0x00190010, "LO", "SIEMENS MR HEADER")
    siemens.add_new(0x0019100C, "UN", b"1000")  # Implicit VR of an unknown element
    assert header_of(other, Path("x")).b_value is None
    assert header_of(siemens, Path("x")).b_value == 1000


@pytest.mark.parametrize(
    ("number", "component"),
    [(0, "MAGNITUDE"), (1, "PHASE"), (2, "REAL"), (3, "IMAGINARY"), (9, "")],
)
def test_ge_states_the_complex_component_in_a_private_element(number: int, component: str) -> None:
    dataset = _minimal()
    dataset.add_new(0x00430010, "LO", "GEMS_PARM_01")
    dataset.add_new(0x0043102F, "SS", number)
    assert header_of(dataset, Path("x")).complex_component == component
    dataset.ComplexImageComponent = "MIXED"
    assert header_of(dataset, Path("x")).complex_component == "MIXED"


def test_reading_an_odd_value_gives_no_warning(tmp_path: Path) -> None:
    scan = make(tmp_path)
    dataset = pydicom.dcmread(scan.paths[0])
    with pydicom.config.disable_value_validation():
        dataset.PatientBirthDate = "29/02/1960"
        dataset.save_as(scan.paths[0])
    read_headers(scan.paths[0])  # warnings are errors in these tests


def _minimal(**values: object) -> Dataset:
    dataset = Dataset()
    for keyword in ("SOPInstanceUID", "SOPClassUID", "StudyInstanceUID", "SeriesInstanceUID"):
        setattr(dataset, keyword, "1.2.3")
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    return dataset
