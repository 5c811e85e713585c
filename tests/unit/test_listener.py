"""The pure parts of the listener: statuses, callers, contexts, structure, spool."""

import struct
from pathlib import Path

import pytest
import yaml
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.filebase import DicomBytesIO
from pynetdicom.presentation import build_context
from pynetdicom.status import STORAGE_SERVICE_CLASS_STATUS

from node.listener import StoreStatus, contexts, spool
from node.listener.callers import Slots, plain_host, rejection, yaml_line
from node.listener.contexts import TRANSFER_SYNTAXES, supported
from node.listener.spool import Spool
from node.listener.statuses import Unacceptable
from node.listener.structure import identify
from tests.peers import (
    BIG,
    CT,
    EXPLICIT,
    IMPLICIT,
    SERIES,
    STUDY,
    VERIFICATION,
    configuration,
    ct,
    encode,
    known,
)

J2K = "1.2.840.10008.1.2.4.90"


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (StoreStatus.SUCCESS, 0x0000),
        (StoreStatus.CLASS_NOT_SUPPORTED, 0x0122),
        (StoreStatus.OUT_OF_RESOURCES, 0xA700),
        (StoreStatus.DATA_SET_MISMATCH, 0xA900),
        (StoreStatus.CANNOT_UNDERSTAND, 0xC000),
        (StoreStatus.UNEXPECTED, 0xC0FF),
    ],
)
def test_a_status_is_the_standards(status: StoreStatus, code: int) -> None:
    assert status == code
    category = STORAGE_SERVICE_CLASS_STATUS[code][0]
    assert category == ("Success" if status == 0 else "Failure")
    assert len(StoreStatus) == 6


def test_a_wrong_called_title_is_named(tmp_path: Path) -> None:
    no = rejection(configuration(tmp_path), "OTHER", "CT01", "10.1.2.3")
    assert no is not None
    assert (no.result, no.source, no.diagnostic) == (1, 1, 7)


@pytest.mark.parametrize(
    ("host", "is_welcome"),
    [("10.1.2.3", True), ("", True), ("10.1.2.0/24", True), ("10.1.2.4", False)],
)
def test_a_caller_is_title_and_host(tmp_path: Path, host: str, is_welcome: bool) -> None:
    config = configuration(tmp_path, callers=known("CT01", host))
    no = rejection(config, "SEGNODE", "CT01 ", "10.1.2.3")
    assert (no is None) == is_welcome
    assert rejection(config, "SEGNODE", "ct01", "10.1.2.3") is not None


def test_a_caller_by_name_is_resolved(tmp_path: Path) -> None:
    config = configuration(tmp_path, callers=known("CT01", "localhost"))
    assert rejection(config, "SEGNODE", "CT01", "127.0.0.1") is None
    nowhere = configuration(tmp_path, callers=known("CT01", "nowhere.invalid"))
    assert rejection(nowhere, "SEGNODE", "CT01", "127.0.0.1") is not None


def test_a_rejection_contains_the_line_to_add(tmp_path: Path) -> None:
    no = rejection(configuration(tmp_path, callers=()), "SEGNODE", "CT01", "10.1.2.3")
    assert no is not None
    assert "- {ae: CT01, host: 10.1.2.3}" in no.advice
    assert (no.result, no.source, no.diagnostic) == (1, 1, 3)


@pytest.mark.parametrize("ae", ["CT01", "NO", "1234", "A: B", "{X}", "PACS_STORE", "#1", '"'])
@pytest.mark.parametrize("host", ["10.1.2.3", "::1", "fe80::1"])
def test_the_line_to_add_is_yaml_for_any_title(ae: str, host: str) -> None:
    assert yaml.safe_load(yaml_line(ae, host)) == [{"ae": ae, "host": host}]


def test_an_address_is_written_as_people_do() -> None:
    assert plain_host("::ffff:10.1.2.3") == "10.1.2.3"
    assert plain_host("fe80::1%eth0") == "fe80::1"


def test_slots_are_limited_in_all_and_by_host() -> None:
    slots = Slots(3, 2)
    assert [bool(slots.take("a")) for _ in range(3)] == [False, False, True]
    assert slots.take("b") == ""
    assert "max_associations" in slots.take("c")
    slots.give_back("a")
    assert slots.take("c") == ""


def test_of_several_syntaxes_the_senders_first_is_taken() -> None:
    proposed = [build_context(CT, [J2K, EXPLICIT, IMPLICIT]), build_context("1.2.3", [EXPLICIT])]
    (context,) = supported(proposed)
    assert [str(syntax) for syntax in context.transfer_syntax] == [J2K, EXPLICIT, IMPLICIT]


def test_deflated_is_never_taken() -> None:
    deflated = "1.2.840.10008.1.2.1.99"
    assert supported([build_context(CT, [deflated])]) == []
    assert deflated not in TRANSFER_SYNTAXES


def test_verification_and_labelmaps_are_taken() -> None:
    proposed = [build_context(contexts.LABELMAP_SEGMENTATION), build_context(VERIFICATION)]
    assert len(supported(proposed)) == 2


@pytest.mark.parametrize("syntax", [IMPLICIT, EXPLICIT, BIG])
def test_a_whole_data_set_is_identified(syntax: str) -> None:
    found = identify(memoryview(encode(ct(1), syntax)), syntax)
    assert (found.sop_class, found.sop_instance) == (CT, f"{SERIES}.1")
    assert (found.study, found.series) == (STUDY, SERIES)


@pytest.mark.parametrize("syntax", [IMPLICIT, EXPLICIT, BIG])
def test_each_truncation_is_noticed(syntax: str) -> None:
    whole = encode(ct(1, size=4), syntax)
    for length in range(len(whole)):
        with pytest.raises(Unacceptable):
            identify(memoryview(whole)[:length], syntax)


@pytest.mark.parametrize(
    "name",
    [
        "CT_small.dcm",
        "MR_small.dcm",
        "MR_small_bigendian.dcm",
        "MR_small_implicit.dcm",
        "JPEG2000.dcm",
        "MR_small_RLE.dcm",
        "MR_small_jpeg_ls_lossless.dcm",
        "rtdose.dcm",
        "rtplan.dcm",
        "reportsi.dcm",
        "SC_ybr_full_422_uncompressed.dcm",
        "liver_1frame.dcm",
        "nested_priv_SQ.dcm",
        "JPEG-lossy.dcm",
        "examples_rgb_color.dcm",
        "examples_ybr_color.dcm",
        "waveform_ecg.dcm",
        "test-SR.dcm",
    ],
)
def test_real_files_pass(name: str) -> None:
    path = get_testdata_file(name)
    if path is None:
        pytest.skip(f"pydicom ships no {name}")
    meta = dcmread(path, stop_before_pixels=True).file_meta
    raw = Path(path).read_bytes()
    data = raw[144 + meta.FileMetaInformationGroupLength :]
    whole = dcmread(path)
    if "SeriesInstanceUID" not in whole:
        pytest.skip("no series")
    found = identify(memoryview(data), str(meta.TransferSyntaxUID))
    assert found.sop_instance == whole.SOPInstanceUID


def without(*keywords: str) -> Dataset:
    dataset = ct(1)
    for keyword in keywords:
        del dataset[keyword]
    return dataset


def changed(**values: object) -> Dataset:
    dataset = ct(1)
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    return dataset


@pytest.mark.parametrize(
    ("dataset", "reason"),
    [
        (without("SOPInstanceUID"), "no SOP Instance UID"),
        (without("StudyInstanceUID"), "no Study Instance UID"),
        (without("SeriesInstanceUID"), "no Series Instance UID"),
        (without("PixelData"), "without pixel data"),
        (changed(PixelData=bytes(100)), "less pixel data"),
        (changed(NumberOfFrames=2), "less pixel data"),
        (changed(PixelData=b""), "less pixel data"),
    ],
)
def test_what_is_missing_is_said(dataset: Dataset, reason: str) -> None:
    with pytest.raises(Unacceptable, match=reason) as caught:
        identify(memoryview(encode(dataset)), EXPLICIT)
    assert caught.value.status is StoreStatus.CANNOT_UNDERSTAND
    assert caught.value.study in (STUDY, "")


def test_a_path_is_not_a_uid() -> None:
    raw = encode(ct(1)).replace(f"{SERIES}.1".encode(), b"../" * 9 + b"tx")
    with pytest.raises(Unacceptable, match="not a UID"):
        identify(memoryview(raw), EXPLICIT)


def compressed(fragments: bytes, frames: int = 1) -> bytes:
    dataset = ct(1)
    dataset.NumberOfFrames = frames
    dataset.PixelData = fragments
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    buffer = DicomBytesIO()
    buffer.is_little_endian, buffer.is_implicit_VR = True, False
    from pydicom.filewriter import write_dataset  # noqa: PLC0415  needs the buffer's encoding

    write_dataset(buffer, dataset)
    return bytes(buffer.getvalue())


def test_encapsulated_frames_are_counted() -> None:
    whole = compressed(encapsulate([b"ab" * 50] * 3), frames=3)
    assert identify(memoryview(whole), J2K).series == SERIES
    with pytest.raises(Unacceptable, match="fewer fragments"):
        identify(memoryview(compressed(encapsulate([b"ab" * 50] * 2), frames=3)), J2K)
    for length in range(len(whole)):
        with pytest.raises(Unacceptable):
            identify(memoryview(whole)[:length], J2K)


def test_pixel_data_must_be_encoded_as_the_syntax_says() -> None:
    with pytest.raises(Unacceptable, match="transfer syntax"):
        identify(memoryview(encode(ct(1))), J2K)
    with pytest.raises(Unacceptable, match="transfer syntax"):
        identify(memoryview(compressed(encapsulate([b"ab"]))), EXPLICIT)


def element(tag: int, vr: bytes, length: int, value: bytes = b"") -> bytes:
    return struct.pack("<HH2s2xI", tag >> 16, tag & 0xFFFF, vr, length) + value


@pytest.mark.parametrize(
    "tail",
    [
        element(0x7FE10010, b"OB", 0xFFFFFFF0, b"ab"),
        element(0x7FE10010, b"OB", 0xFFFFFFFF, b"ab"),
        element(0x7FE10010, b"SQ", 0xFFFFFFFF) + bytes.fromhex("feff00e0ffffffff") * 3,
        b"\xe1\x7f\x10\x00??\x00\x00",
        bytes.fromhex("feff0de000000000"),
        bytes.fromhex("0200100055490000"),
        b"\0",
    ],
)
def test_nonsense_at_the_end_is_not_swallowed(tail: bytes) -> None:
    with pytest.raises(Unacceptable):
        identify(memoryview(encode(ct(1)) + tail), EXPLICIT)


def test_deep_nesting_ends_without_recursion() -> None:
    deep = (
        element(0x7FE10010, b"SQ", 0xFFFFFFFF)
        + (bytes.fromhex("feff00e0ffffffff") + element(0x7FE10010, b"SQ", 0xFFFFFFFF)) * 5000
    )
    with pytest.raises(Unacceptable, match="nested"):
        identify(memoryview(encode(ct(1)) + deep), EXPLICIT)


def test_the_same_uid_twice_is_refused() -> None:
    dataset = encode(ct(1))
    again = struct.pack("<HH2sH", 0x0008, 0x0018, b"UI", 4) + b"1.2\0"
    with pytest.raises(Unacceptable, match="twice"):
        identify(memoryview(again + dataset), EXPLICIT)


def test_a_spool_moves_to_disk_and_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool, "IN_MEMORY_BYTES", 100)
    for pieces in (3, 50):
        data = Spool(tmp_path, 10_000)
        for number in range(pieces):
            data.write(bytes([number]) * 10)
        with data.view() as view:
            assert bytes(view) == b"".join(bytes([number]) * 10 for number in range(pieces))
        data.close()
    assert list(tmp_path.iterdir()) == []


def test_a_spool_that_is_too_large_keeps_nothing(tmp_path: Path) -> None:
    data = Spool(tmp_path, 1000)
    for _ in range(100):
        data.write(bytes(100))
    assert data.is_too_large
    assert data.received_bytes == 10_000
    assert data.getbuffer().nbytes == 0
    data.close()
