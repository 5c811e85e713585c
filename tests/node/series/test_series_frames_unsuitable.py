"""Multi-frame images that are not a volume, or are damaged: each is unsuitable with its error."""

import copy
import random
import re
from collections.abc import Callable
from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import UID, ExplicitVRLittleEndian, JPEG2000Lossless, RLELossless

from node import errors
from node.series import read, read_headers, survey
from node.series.frames import MOST_FRAMES
from tests.support.enhanced import Change, another, enhance, frames, group, shared
from tests.support.phantoms import Phantom, make

TYPE = "MRImageFrameTypeSequence"


def each(keyword: str, **values: Callable[[int], object]) -> Change:
    """Set values of a group in every frame, by its place in the stack from 0."""

    def change(dataset: Dataset) -> None:
        for one in frames(dataset):
            place = one.FrameContentSequence[0].InStackPositionNumber - 1
            group(one, keyword, **{name: value(place) for name, value in values.items()})

    return change


def pairs(keyword: str, **values: tuple[object, object]) -> Change:
    """Put every second frame where the one before it lies, and give both another value."""

    def change(dataset: Dataset) -> None:
        places = {
            one.FrameContentSequence[0].InStackPositionNumber: one.PlanePositionSequence
            for one in frames(dataset)
        }
        for one in frames(dataset):
            number = one.FrameContentSequence[0].InStackPositionNumber
            one.PlanePositionSequence = places[number - (number + 1) % 2]
            second = (number + 1) % 2
            group(one, keyword, **{name: value[second] for name, value in values.items()})

    return change


def sets(**values: object) -> Change:
    def change(dataset: Dataset) -> None:
        for keyword, value in values.items():
            setattr(dataset, keyword, value)

    return change


def without_groups(dataset: Dataset) -> None:
    del dataset.PerFrameFunctionalGroupsSequence


def without_last_group(dataset: Dataset) -> None:
    dataset.PerFrameFunctionalGroupsSequence.pop()


def without_places(dataset: Dataset) -> None:
    for one in frames(dataset):
        del one.PlanePositionSequence


def empty_shared(dataset: Dataset) -> None:
    dataset.SharedFunctionalGroupsSequence = []


def three_stacks(dataset: Dataset) -> None:
    each("FrameContentSequence", StackID=lambda place: str(place // 4))(dataset)


def technique(name: str) -> Change:
    def change(dataset: Dataset) -> None:
        group(shared(dataset), TYPE, VolumeBasedCalculationTechnique=name)

    return change


UNSUITABLE: dict[str, tuple[Change, type[errors.Unsuitable], str]] = {
    "no groups": (without_groups, errors.EnhancedMultiFrame, "12 frames.* groups describe 0"),
    "groups are missing": (without_last_group, errors.EnhancedMultiFrame, "describe 11"),
    "no count": (sets(NumberOfFrames=None), errors.EnhancedMultiFrame, r"1 frame, .* describe 12"),
    "too many": (
        sets(NumberOfFrames=MOST_FRAMES + 1),
        errors.EnhancedMultiFrame,
        "holds 10001 frames, and up to 10000",
    ),
    "PET": (
        sets(SOPClassUID="1.2.840.10008.5.1.4.1.1.130"),
        errors.EnhancedMultiFrame,
        "12 frames and is no Enhanced CT or MR image",
    ),
    "ultrasound": (
        sets(SOPClassUID="1.2.840.10008.5.1.4.1.1.3.1"),
        errors.EnhancedMultiFrame,
        "12 frames and is no Enhanced",
    ),
    "no places": (without_places, errors.NotAnImage, "12 × no position in the patient"),
    "nothing shared": (empty_shared, errors.NotAnImage, "12 × no position"),
    "no spacing": (
        lambda d: group(shared(d), "PixelMeasuresSequence", PixelSpacing=["0", "0"]),
        errors.NotAnImage,
        "12 × no pixel spacing",
    ),
    "localizers": (
        lambda d: group(shared(d), TYPE, FrameType=["ORIGINAL", "PRIMARY", "LOCALIZER", "NONE"]),
        errors.Localizer,
        "none of the 12 images is a slice of a volume: 12 × localizer",
    ),
    "localizers by their image type": (
        sets(ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER", "NONE"]),
        errors.Localizer,
        "12 × localizer",
    ),
    "projection": (technique("MAX_IP"), errors.Projection, r"12 × projection \(MAX IP\)"),
    "curved": (technique("CURVED_MPR"), errors.Projection, r"12 × projection \(CURVED MPR\)"),
    "time points": (
        pairs("FrameContentSequence", TemporalPositionIndex=(1, 2)),
        errors.FourDimensional,
        "12 images at 6 places, up to 2 at one, which differ in time points$",
    ),
    "echoes": (
        pairs("MREchoSequence", EffectiveEchoTime=(3.0, 9.0)),
        errors.FourDimensional,
        "differ in echo times$",
    ),
    "b-values": (
        pairs("MRDiffusionSequence", DiffusionBValue=(0.0, 1000.0)),
        errors.FourDimensional,
        "differ in b-values$",
    ),
    "magnitude and phase": (
        pairs(TYPE, ComplexImageComponent=("MAGNITUDE", "PHASE")),
        errors.FourDimensional,
        "magnitude and phase",
    ),
    "water and fat": (
        pairs(
            TYPE,
            FrameType=(
                ["DERIVED", "PRIMARY", "DIXON", "WATER"],
                ["DERIVED", "PRIMARY", "DIXON", "FAT"],
            ),
        ),
        errors.FourDimensional,
        "image types",
    ),
    "stacks": (three_stacks, errors.FourDimensional, "3 stacks, of 4, 4, 4 images"),
    "a tilt": (
        each(
            "PlanePositionSequence",
            ImagePositionPatient=lambda place: ["0", str(0.5 * place), str(3 * place)],
        ),
        errors.GantryTilt,
        "9.5 degrees",
    ),
    "a gap": (
        each(
            "PlanePositionSequence",
            ImagePositionPatient=lambda place: ["0", "0", str(3 * (place + (place > 5)))],
        ),
        errors.MissingSlice,
        "1 slice is missing",
    ),
    "uneven": (
        each(
            "PlanePositionSequence",
            ImagePositionPatient=lambda place: ["0", "0", str(3 * place + 0.9 * (place % 2))],
        ),
        errors.UnevenSpacing,
        "varies",
    ),
    "one place twice": (
        each(
            "PlanePositionSequence",
            ImagePositionPatient=lambda place: ["0", "0", str(3 * min(place, 10))],
        ),
        errors.DuplicatePositions,
        "taken twice",
    ),
    "two directions": (
        each(
            "PlaneOrientationSequence",
            ImageOrientationPatient=lambda place: (
                ["1", "0", "0", "0", "1", "0"] if place % 3 else ["1", "0", "0", "0", "0", "-1"]
            ),
        ),
        errors.MixedOrientation,
        "2 different sizes or directions",
    ),
    "unplaced": (sets(FrameOfReferenceUID=""), errors.NoFrameOfReference, "Frame of Reference"),
    "mosaic": (
        sets(ImageType=["ORIGINAL", "PRIMARY", "M", "MOSAIC"]),
        errors.FourDimensional,
        "mosaic",
    ),
}


@pytest.mark.parametrize("name", UNSUITABLE)
def test_each_problem_has_its_error_and_its_numbers(tmp_path: Path, name: str) -> None:
    change, error, message = UNSUITABLE[name]
    path = enhance(make(tmp_path / "classic"), tmp_path / "enhanced.dcm", change=change)
    with pytest.raises(error) as caught:
        survey(read_headers(path))
    assert type(caught.value) is error
    assert re.search(message, caught.value.message), caught.value.message
    assert caught.value.advice
    assert "CANARY" not in str(caught.value)
    with pytest.raises(error):
        read([path])


def test_groups_that_are_not_sequences_are_unsuitable(tmp_path: Path) -> None:
    path = enhance(make(tmp_path / "classic"), tmp_path / "enhanced.dcm")
    written, damaged = b"\x20\x00\x13\x91SQ", b"\x20\x00\x13\x91OB"  # Plane Position Sequence
    path.write_bytes(path.read_bytes().replace(written, damaged))
    with pytest.raises(errors.NotAnImage, match="12 × no position"):
        read([path])


def test_time_points_in_separate_files_are_four_dimensional(tmp_path: Path) -> None:
    def second(dataset: Dataset) -> None:
        another(dataset)
        for one in frames(dataset):
            group(one, "FrameContentSequence", TemporalPositionIndex=2)

    scan = make(tmp_path)
    paths = [
        enhance(scan, tmp_path / "first.dcm"),
        enhance(scan, tmp_path / "second.dcm", change=second),
    ]
    with pytest.raises(errors.FourDimensional, match=r"24 images at 12 places.* time points"):
        read(paths)


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, RLELossless, JPEG2000Lossless])
def test_truncated_pixels_cannot_be_decoded(tmp_path: Path, syntax: UID) -> None:
    scan = make(tmp_path, Phantom(shape=(5, 40, 32)))
    path = enhance(scan, tmp_path / "enhanced.dcm", syntax=syntax)
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(errors.UndecodablePixels, match=re.escape(syntax.name)):
        read([path])


def test_pixels_with_a_frame_too_few_cannot_be_decoded(tmp_path: Path) -> None:
    def change(dataset: Dataset) -> None:
        dataset.PixelData = dataset.PixelData[: 11 * 20 * 16 * 2]

    path = enhance(make(tmp_path / "classic"), tmp_path / "enhanced.dcm", change=change)
    with pytest.raises(errors.UndecodablePixels, match="frame 1 of image 1"):
        read([path])


def test_compressed_pixels_with_a_frame_too_few_cannot_be_decoded(tmp_path: Path) -> None:
    scan = make(tmp_path, Phantom(shape=(5, 40, 32)))
    path = enhance(scan, tmp_path / "enhanced.dcm", part=slice(4), syntax=RLELossless)
    dataset = pydicom.dcmread(path)
    dataset.NumberOfFrames = 5
    dataset.PerFrameFunctionalGroupsSequence.append(copy.deepcopy(frames(dataset)[0]))
    place = ["-31.5", "12.25", "52"]
    group(frames(dataset)[4], "PlanePositionSequence", ImagePositionPatient=place)
    dataset.save_as(path)
    assert len(survey(read_headers(path)).headers) == 5, "the header shows nothing wrong"
    with pytest.raises(errors.UndecodablePixels, match="RLE"):
        read([path])


def test_a_damaged_frame_is_named(tmp_path: Path) -> None:
    scan = make(tmp_path, Phantom(shape=(5, 40, 32)))
    path = enhance(scan, tmp_path / "enhanced.dcm", syntax=JPEG2000Lossless)
    dataset = pydicom.dcmread(path)
    encoded = list(generate_frames(dataset.PixelData, number_of_frames=5))
    dataset.PixelData = encapsulate([*encoded[:4], b"\xaa" * len(encoded[4])])
    dataset.save_as(path)
    with pytest.raises(errors.UndecodablePixels, match=r"frame 5 of image 1.* JPEG 2000"):
        read([path])


@pytest.mark.parametrize("slope", ["0", "1e400"])
def test_an_invalid_rescale_of_one_frame_is_unsuitable(tmp_path: Path, slope: str) -> None:
    def change(dataset: Dataset) -> None:
        group(frames(dataset)[7], "PixelValueTransformationSequence", RescaleSlope=slope)

    path = enhance(make(tmp_path / "classic"), tmp_path / "enhanced.dcm", change=change)
    with pytest.raises(errors.UnusableRescale, match="frame 8"):
        read([path])


def test_random_damage_raises_unsuitable_and_nothing_else(tmp_path: Path) -> None:
    scan = make(tmp_path / "classic", Phantom(shape=(3, 8, 8)))
    whole = enhance(scan, tmp_path / "enhanced.dcm").read_bytes()
    chance = random.Random(5)
    path, unsuitable = tmp_path / "damaged.dcm", 0
    for _ in range(300):
        raw = bytearray(whole)
        for _ in range(chance.randint(1, 4)):
            raw[chance.randrange(132, len(raw))] = chance.randrange(256)
        path.write_bytes(raw[: chance.randrange(200, len(raw))] if chance.random() < 0.3 else raw)
        try:
            read([path])
        except errors.Unsuitable:
            unsuitable += 1
    assert unsuitable > 50
