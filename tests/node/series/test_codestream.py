"""Compressed frames that claim another size than their header are never decoded."""

import struct
from pathlib import Path

import pydicom
import pytest
from pydicom.encaps import encapsulate
from pydicom.uid import UID, JPEG2000Lossless, JPEGLosslessSV1, JPEGLSLossless, RLELossless

from node.errors import UndecodablePixels
from node.series import same_image
from node.series.codestream import problem_of_file
from node.series.read import read
from tests.support.hostile import jpeg2000_frame, jpeg_frame, rle_frame
from tests.support.phantoms import Phantom, make

SIDE = 40  # of the phantom's images


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    return list(make(tmp_path, Phantom(shape=(12, SIDE, SIDE), shuffle=False)).paths)


def with_frames(path: Path, syntax: UID, *frames: bytes) -> Path:
    """Replace the pixels of an image by compressed frames."""
    dataset = pydicom.dcmread(path)
    dataset.NumberOfFrames = len(frames)
    dataset.PixelData = encapsulate(list(frames))
    dataset["PixelData"].is_undefined_length = True
    dataset["PixelData"].VR = "OB"
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.save_as(path)
    return path


@pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless, JPEGLSLossless])
def test_frames_of_real_encoders_are_those_of_their_headers(paths: list[Path], syntax: UID) -> None:
    dataset = pydicom.dcmread(paths[0])
    dataset.compress(syntax, generate_instance_uid=False)
    dataset.save_as(paths[0])
    assert problem_of_file(paths[0]) == ""


def test_an_image_without_compression_has_no_problem(paths: list[Path]) -> None:
    assert problem_of_file(paths[0]) == ""


@pytest.mark.parametrize(
    ("syntax", "frame"),
    [
        (JPEGLSLossless, jpeg_frame(0xF7, 65535, 65535)),
        (JPEGLosslessSV1, jpeg_frame(0xC3, SIDE, 65535)),
        (JPEGLosslessSV1, jpeg_frame(0xC3, SIDE, SIDE, samples=255)),
        (JPEG2000Lossless, jpeg2000_frame(65535, 65535)),
        (JPEG2000Lossless, bytes(80) + jpeg2000_frame(SIDE, 65535)),
    ],
)
def test_another_size_is_refused_by_its_numbers(
    paths: list[Path], syntax: UID, frame: bytes
) -> None:
    problem = problem_of_file(with_frames(paths[0], syntax, frame))
    assert problem.endswith(f"its header {SIDE} x {SIDE} pixels of 1 samples")
    assert "65535" in problem or "255 samples" in problem


@pytest.mark.parametrize(
    "frame",
    [b"\xff\xd8", b"\xff\xd8" + b"\xff\xe0\x00\x02" * 2000, b"no code stream at all"],
)
def test_a_frame_that_states_no_size_is_refused(paths: list[Path], frame: bytes) -> None:
    path = with_frames(paths[0], JPEGLSLossless, frame)
    assert problem_of_file(path) == "a compressed frame does not state its size"


def test_run_lengths_of_more_than_the_image_are_refused(paths: list[Path]) -> None:
    plane = SIDE * SIDE
    assert problem_of_file(with_frames(paths[0], RLELossless, rle_frame(bytes(2 * plane)))) == ""
    long = rle_frame(b"\x81\x00" * (plane + 2))
    assert "a segment" in problem_of_file(with_frames(paths[0], RLELossless, long))
    assert "cut off" in problem_of_file(with_frames(paths[0], RLELossless, long[:60]))


def test_the_second_frame_is_checked_too(paths: list[Path]) -> None:
    frames = [jpeg_frame(0xF7, SIDE, SIDE), jpeg_frame(0xF7, SIDE, 9999)]
    assert "9999" in problem_of_file(with_frames(paths[0], JPEGLSLossless, *frames))


def test_two_copies_of_another_size_are_not_decoded(paths: list[Path], tmp_path: Path) -> None:
    other = tmp_path / "copy"
    other.write_bytes(paths[0].read_bytes())
    frame = jpeg_frame(0xF7, 65535, 65535)
    one = with_frames(paths[0], JPEGLSLossless, frame)
    assert not same_image(one, with_frames(other, JPEGLSLossless, frame + struct.pack("<H", 0)))


def test_a_series_of_another_size_is_unsuitable(paths: list[Path]) -> None:
    for path in paths:
        with_frames(path, JPEGLSLossless, jpeg_frame(0xF7, 65535, 65535))
    with pytest.raises(UndecodablePixels, match="65535 x 65535"):
        read(paths)
