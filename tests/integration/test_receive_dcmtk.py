"""Real senders: DCMTK's storescu, dcmsend and echoscu over loopback."""

import logging
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.data import get_testdata_file

from node import logs
from node.inbox import read_markers, read_series
from tests.support.peers import (
    SERIES,
    STUDY,
    Listening,
    dcmtk,
    environment,
    known,
    listening,
    needs_dcmtk,
    soon,
    write_slices,
)

pytestmark = [pytest.mark.dcmtk, needs_dcmtk]


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Listening]:
    with listening(tmp_path / "data") as node:
        yield node


def test_an_echo_is_answered(node: Listening) -> None:
    assert dcmtk("echoscu", node.port).returncode == 0


@pytest.mark.parametrize("tool", ["storescu", "dcmsend"])
def test_a_series_arrives_whole_and_is_marked_released(
    node: Listening, tmp_path: Path, tool: str
) -> None:
    paths = write_slices(tmp_path / "slices", 5)
    assert dcmtk(tool, node.port, "-aet", "CT01", *paths).returncode == 0
    (folder,) = node.inbox.series_folders()
    assert len(node.inbox.instances(folder)) == 5
    record = read_series(folder.path)
    assert record is not None
    assert (record.study, record.series) == (STUDY, SERIES)
    assert soon(lambda: [m.state for m in read_markers(folder.path)] == ["released"])
    (marker,) = read_markers(folder.path)
    assert (marker.state, marker.calling_ae, marker.instances) == ("released", "CT01", 5)
    assert marker.host == "127.0.0.1"


@pytest.mark.parametrize(
    ("name", "syntax"),
    [
        ("MR_small_implicit.dcm", "1.2.840.10008.1.2"),
        ("CT_small.dcm", "1.2.840.10008.1.2.1"),
        ("MR_small_bigendian.dcm", "1.2.840.10008.1.2.2"),
        ("JPEG2000.dcm", "1.2.840.10008.1.2.4.91"),
        ("MR_small_jpeg_ls_lossless.dcm", "1.2.840.10008.1.2.4.80"),
        ("MR_small_RLE.dcm", "1.2.840.10008.1.2.5"),
        ("SC_rgb_jpeg_gdcm.dcm", "1.2.840.10008.1.2.4.70"),
        ("SC_rgb_jpeg_dcmtk.dcm", "1.2.840.10008.1.2.4.50"),
    ],
)
def test_each_transfer_syntax_is_kept(node: Listening, name: str, syntax: str) -> None:
    path = get_testdata_file(name)
    assert path is not None
    source = dcmread(path)
    assert source.file_meta.TransferSyntaxUID == syntax
    by = {"1.2.840.10008.1.2": ("storescu", "-xi"), "1.2.840.10008.1.2.2": ("storescu", "-xb")}
    tool, option = by.get(syntax, ("dcmsend", "--decompress-never"))
    sent = dcmtk(tool, node.port, option, path)
    assert sent.returncode == 0, sent.stdout + sent.stderr
    (file,) = node.instances()
    stored = dcmread(file.path)
    assert stored.file_meta.TransferSyntaxUID == syntax
    assert (
        stored.pixel_array == source.pixel_array
    ).all()  # DCMTK itself drops padding and group lengths
    assert stored.SOPInstanceUID == source.SOPInstanceUID


def test_four_associations_at_once_lose_nothing(node: Listening, tmp_path: Path) -> None:
    paths = write_slices(tmp_path / "slices", 40)
    senders = [
        subprocess.Popen(
            ["dcmsend", "-aec", "SEGNODE", "127.0.0.1", str(node.port), *paths[part::4]],
            env=environment(),
        )
        for part in range(4)
    ]
    assert [sender.wait(300) for sender in senders] == [0, 0, 0, 0]
    (folder,) = node.inbox.series_folders()
    assert len(node.inbox.instances(folder)) == 40
    assert soon(lambda: [m.state for m in read_markers(folder.path)] == ["released"] * 4)
    assert sum(marker.instances for marker in read_markers(folder.path)) == 40


def test_resent_images_add_nothing(node: Listening, tmp_path: Path) -> None:
    paths = write_slices(tmp_path / "slices", 4)
    for _ in range(2):
        assert dcmtk("storescu", node.port, *paths).returncode == 0
    assert len(node.instances()) == 4
    assert node.inbox.read_notes() == []


def test_other_content_under_one_uid_is_kept_and_noted(node: Listening, tmp_path: Path) -> None:
    (path,) = write_slices(tmp_path / "slices", 1)
    assert dcmtk("storescu", node.port, path).returncode == 0
    other = dcmread(path)
    other.PixelData = bytes(len(other.PixelData))
    other.save_as(path)
    assert dcmtk("storescu", node.port, path).returncode == 0
    assert len(node.instances()) == 2
    (note,) = node.inbox.read_notes()
    assert (note.kind, note.series) == ("conflicting-instance", SERIES)


def test_a_wrong_called_title_is_rejected_with_its_reason(node: Listening) -> None:
    echo = dcmtk("echoscu", node.port, "-aec", "OTHER")
    assert "Called AE Title Not Recognized" in echo.stdout + echo.stderr


def test_an_unknown_caller_leaves_a_note_with_the_line_to_add(tmp_path: Path) -> None:
    with listening(tmp_path, callers=known("CT01", "127.0.0.1")) as node:
        echo = dcmtk("echoscu", node.port, "-aet", "CT02")
        assert "Calling AE Title Not Recognized" in echo.stdout + echo.stderr
        assert dcmtk("echoscu", node.port, "-aet", "CT01").returncode == 0
        (note,) = node.inbox.read_notes()
    assert "- {ae: CT02, host: 127.0.0.1}" in note.advice
    assert (note.kind, note.calling_ae, note.host) == ("rejected-association", "CT02", "127.0.0.1")


def test_a_low_disk_rejects_associations_as_transient(tmp_path: Path) -> None:
    with listening(tmp_path, stop_below=1 << 60) as node:
        echo = dcmtk("echoscu", node.port)
    assert echo.returncode != 0
    assert "Rejected Transient" in echo.stdout + echo.stderr


def test_no_patient_data_enters_a_log(
    node: Listening, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    (path, cut) = write_slices(tmp_path / "slices", 2)
    dataset = dcmread(cut)
    dataset.PixelData = dataset.PixelData[:10]
    dataset.save_as(cut)
    dcmtk("storescu", node.port, path)
    dcmtk("storescu", node.port, cut)
    lines = [logs.JsonLines("listener").format(record) for record in caplog.records]
    lines += [record.getMessage() for record in caplog.records]
    assert any("instance rejected" in line for line in lines)
    notes = [str(note) for note in node.inbox.read_notes()]
    assert notes
    assert "CANARY" not in "\n".join(lines + notes)


def test_the_largest_instance_is_limited(tmp_path: Path) -> None:
    paths = write_slices(tmp_path / "slices", 2, size=64)
    small = write_slices(tmp_path / "small", 1, size=16, series=f"{SERIES}.9")
    with listening(tmp_path / "data", largest_instance=8000) as node:
        assert dcmtk("storescu", node.port, paths[0]).returncode != 0
        assert dcmtk("storescu", node.port, *small).returncode == 0
        assert len(node.instances()) == 1
        assert ["larger" in note.message for note in node.inbox.read_notes()] == [True]
