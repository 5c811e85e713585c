"""Odd headers: repaired in a copy and listed without the value; the result is valid."""

from collections.abc import Callable
from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.valuerep import PersonName

from node.imaging import Labels
from node.seg import repairs_of, to_bytes, verify
from node.series import read
from tests.support.odd_headers import in_slices, sets
from tests.support.phantoms import Phantom, chiral, make, package
from tests.support.segs import encode_again, result

Change = Callable[[Dataset, int], None]


def odd(keyword: str, value: object) -> Change:
    def change(dataset: Dataset, _z: int) -> None:
        if value is None:
            delattr(dataset, keyword)
        else:
            setattr(dataset, keyword, value)

    return change


def test_a_result_has_the_patient_id_that_some_images_lack(tmp_path: Path) -> None:
    change = in_slices(sets(PatientID=None), range(4))
    series = read(make(tmp_path, Phantom(change=change)).paths)
    labels = Labels(chiral(series.volume.array.shape), series.survey.grid)
    model = package(tmp_path)
    seg = encode_again(series, labels, model)
    assert seg.PatientID == "CANARY-7"
    verify(to_bytes(seg), series, labels, model.manifest.segments)
    assert repairs_of(series) == (
        "PatientID was absent in 4 of 12 images; that of the others was written",
    )


@pytest.mark.parametrize(
    ("some", "others", "expected", "repair"),
    [
        (None, "A-1", "A-1", "AccessionNumber was absent in 4 of 12 images; that of the others"),
        ("A-2", "A-1", "A-2", "AccessionNumber has 2 values in the images; that of image 1"),
    ],
)
def test_a_result_has_one_of_several_accession_numbers(
    tmp_path: Path, some: str | None, others: str, expected: str, repair: str
) -> None:
    def change(dataset: Dataset, z: int) -> None:
        sets(AccessionNumber=some if z < 4 else others, InstanceNumber=z + 1)(dataset)

    series = read(make(tmp_path, Phantom(change=change)).paths)
    labels = Labels(chiral(series.volume.array.shape), series.survey.grid)
    assert encode_again(series, labels, package(tmp_path)).AccessionNumber == expected
    assert repairs_of(series) == (f"{repair} was written",)


@pytest.mark.parametrize(
    ("keyword", "value", "expected", "repair"),
    [
        ("PatientSex", "MALE", "", "PatientSex had a value"),
        ("PatientSex", None, "", "PatientSex was absent"),
        ("PatientBirthDate", "19601399", "", "PatientBirthDate had a value"),
        ("PatientBirthDate", "1960.02.29", "19600229", "PatientBirthDate was written"),
        ("StudyDate", "***", "", "StudyDate had a value"),
        ("StudyDate", None, "", "StudyDate was absent"),
        ("StudyTime", "10:11:12", "101112", "StudyTime was written"),
        ("StudyTime", "2500", "", "StudyTime had a value"),
        ("StudyTime", "101112.123456", "101112.123456", None),
        ("StudyTime", "1011", "1011", None),
        ("PatientID", None, "", "PatientID was absent"),
        ("PatientName", None, "", "PatientName was absent"),
        ("PatientName", "A\\B^C", "A B^C", "PatientName was written"),
        ("PatientID", "A\\B", "['A', 'B']", None),
        ("AccessionNumber", None, "", "AccessionNumber was absent"),
        ("AccessionNumber", "A" * 20, "A" * 20, None),  # an identifier is never changed
        ("StudyID", None, "", "StudyID was absent"),
        ("ReferringPhysicianName", None, "", "ReferringPhysicianName was absent"),
        ("PatientAge", "45", None, "PatientAge had a value"),
        ("PatientAge", "045Y", "045Y", None),
        ("BodyPartExamined", "head and neck", None, "BodyPartExamined had a value"),
        ("SliceThickness", None, None, "SliceThickness was absent"),
        ("Manufacturer", None, "Test", None),
        ("InstitutionName", "I" * 80, "absent", "InstitutionName had a value"),
        ("TimezoneOffsetFromUTC", "CET", None, None),
        ("LossyImageCompression", "maybe", "00", "LossyImageCompression had a value"),
        ("PatientSize", "tall", None, "PatientSize"),
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_odd_values_are_repaired_and_listed(
    tmp_path: Path, keyword: str, value: object, expected: str | None, repair: str | None
) -> None:
    with pydicom.config.disable_value_validation():
        change = odd(keyword, value)
        if keyword == "PatientSize":

            def change(dataset: Dataset, _z: int) -> None:
                dataset.add_new(0x00101020, "LO", "tall")

        r = result(tmp_path, Phantom(change=change))
    verify(to_bytes(r.seg), r.series, r.labels, r.package.manifest.segments)
    if expected != "absent":
        written = r.seg.get(keyword)
        assert (None if written is None else str(written)) == expected
    if repair is None:
        assert r.repairs == ()
    else:
        assert any(one.startswith(repair) for one in r.repairs), r.repairs
    assert not any(str(value) in one for one in r.repairs if value is not None)


@pytest.mark.parametrize(
    ("charset", "name"),
    [
        ("ISO_IR 100", "Wünsch^Zoë"),
        ("ISO_IR 6", "Plain^Name"),
        ("", "Plain^Name"),
        (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう"),
        (["", "ISO 2022 IR 149"], "Hong^Gildong=洪^吉洞=홍^길동"),
        ("ISO_IR 144", "Люкceмбypг"),
        ("GB18030", "Wang^XiaoDong=王^小东"),
        ("ISO_IR_100", "Wünsch^Zoë"),
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_names_survive_in_unicode(tmp_path: Path, charset: str | list[str], name: str) -> None:
    def change(dataset: Dataset, _z: int) -> None:
        dataset.SpecificCharacterSet = charset
        dataset.PatientName = PersonName(name)

    r = result(tmp_path, Phantom(change=change))
    assert r.seg.SpecificCharacterSet == "ISO_IR 192"
    assert str(r.seg.PatientName) == name
    raw = to_bytes(r.seg)
    assert name.encode() in raw
    verify(raw, r.series, r.labels)


def test_an_unknown_character_set_is_listed(tmp_path: Path) -> None:
    scan = result(tmp_path / "a").scan
    for path in scan.paths:
        path.write_bytes(path.read_bytes().replace(b"ISO_IR 192", b"ISO_IR 999"))

    series = read(scan.paths)
    repairs = repairs_of(series)
    assert any("SpecificCharacterSet" in repair for repair in repairs)


def test_nothing_private_is_inherited(tmp_path: Path) -> None:
    def change(dataset: Dataset, _z: int) -> None:
        block = dataset.private_block(0x0011, "SOMEBODY", create=True)
        block.add_new(1, "LO", "secret")

    assert b"secret" not in to_bytes(result(tmp_path, Phantom(change=change)).seg)


@pytest.mark.filterwarnings("default::UserWarning")
def test_no_warning_log_or_repair_quotes_a_value(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, recwarn: pytest.WarningsRecorder
) -> None:
    def change(dataset: Dataset, _z: int) -> None:
        dataset.PatientBirthDate, dataset.PatientSex = "CANARY8", "CANARY9"
        dataset.PatientID, dataset.AccessionNumber = "CANARY" * 20, "CANARY" * 5
        dataset.PatientAge, dataset.StudyTime = "CANARY", "CANARY"

    with caplog.at_level("DEBUG"):
        r = result(tmp_path, Phantom(change=change))
        verify(to_bytes(r.seg), r.series, r.labels)
    lines = [*caplog.messages, *map(str, recwarn), *r.repairs]
    assert len(r.repairs) == 4
    assert not any("CANARY" in line for line in lines)


def test_an_unreadable_value_is_left_empty_and_listed(tmp_path: Path) -> None:
    scan = result(tmp_path).scan
    for path in scan.paths:
        raw = path.read_bytes()
        at = raw.index(b"\x20\x00\x10\x00SH") + 4  # StudyID, with a VR that does not exist
        path.write_bytes(raw[:at] + b"AH" + raw[at + 2 :])
    series = read(scan.paths)
    seg, repairs = encode_again(series, scan.truth, package(tmp_path)), repairs_of(series)
    assert "StudyID could not be read, and was left out" in repairs
    assert not seg.StudyID
    verify(to_bytes(seg), series, scan.truth)
