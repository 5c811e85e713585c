"""Odd but real headers on real series of many manufacturers: the expected decision for each."""

import copy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import SecondaryCaptureImageStorage, generate_uid

from node import errors
from node.caveats import CaveatCode
from node.series import Series, read
from tests.support.enhanced import frames, group, shared
from tests.support.odd_headers import Edit, modality_lut, real_world, sets
from tests.support.real_series import SOURCES, slices_of, write

Change = Callable[[list[Dataset]], list[Dataset]]


def each(edit: Edit) -> Change:
    """Edit all images."""

    def change(datasets: list[Dataset]) -> list[Dataset]:
        for dataset in datasets:
            edit(dataset)
        return datasets

    return change


def one(edit: Edit) -> Change:
    """Edit the second image, or the only one."""

    def change(datasets: list[Dataset]) -> list[Dataset]:
        edit(datasets[min(1, len(datasets) - 1)])
        return datasets

    return change


def word(*words: str) -> Change:
    """Append words to Image Type."""
    return each(sets(ImageType=["DERIVED", "SECONDARY", *words]))


def ct_words(*words: str, unit: str = "") -> Change:
    """Append words to Image Type of a CT, and set its Rescale Type."""

    def edit(dataset: Dataset) -> None:
        sets(ImageType=["DERIVED", "SECONDARY", "AXIAL", *words])(dataset)
        sets(RescaleType=unit or None)(dataset)

    return each(edit)


def ge_component(number: int) -> Edit:
    """Return the edit that sets the private element with the complex component."""

    def edit(dataset: Dataset) -> None:
        dataset.add_new(0x00430010, "LO", "GEMS_PARM_01")
        dataset.add_new(0x0043102F, "SS", number)

    return edit


def duplicated(edit: Edit) -> Change:
    """Add a copy of the second image under another UID."""

    def change(datasets: list[Dataset]) -> list[Dataset]:
        duplicate = copy.deepcopy(datasets[1])
        duplicate.SOPInstanceUID, duplicate.InstanceNumber = generate_uid(), 99
        edit(duplicate)
        return [*datasets, duplicate]

    return change


def brighter(dataset: Dataset) -> None:
    values = np.frombuffer(dataset.PixelData, "<u2") ^ 1
    dataset.PixelData = values.astype("<u2").tobytes()


def shifted(dataset: Dataset) -> None:
    """Move the values up by the free bits of the cells, as High Bit then says."""
    free = dataset.BitsAllocated - dataset.BitsStored
    values = np.frombuffer(dataset.PixelData, "<u2").astype(np.uint32) << free
    dataset.PixelData = (values & 0xFFFF).astype("<u2").tobytes()
    dataset.HighBit = dataset.BitsAllocated - 1


def of_volume(keyword: str, value: object, other: object) -> Change:
    """Set an attribute of all images, and another value of the second one."""
    return lambda images: one(sets(**{keyword: other}))(each(sets(**{keyword: value}))(images))


def described(**texts: str) -> Change:
    return lambda images: each(sets(**texts))(word("AXIAL")(images))


def intercept_added(dataset: Dataset) -> None:
    dataset.RescaleIntercept = str(int(dataset.RescaleIntercept) - 1024)


def nothing(_dataset: Dataset) -> None:
    pass


def lossy_word(dataset: Dataset) -> None:
    dataset.ImageType = [*dataset.ImageType, "JP2K LOSSY 6:1"]


RESCALE = sets(RescaleSlope="2", RescaleIntercept="-1000")
NO_RESCALE = sets(RescaleSlope=None, RescaleIntercept=None)

ANY: dict[str, tuple[Change, str]] = {  # oddity -> change, expected code; empty: same volume
    "plain": (each(nothing), ""),
    "no photometric interpretation": (
        each(sets(PhotometricInterpretation=None)),
        "missing-attribute",
    ),
    "one without samples": (one(sets(SamplesPerPixel=None)), "missing-attribute"),
    "no bits stored": (each(sets(BitsStored=None)), "missing-attribute"),
    "no high bit": (each(sets(HighBit=None)), ""),
    "no sign": (each(sets(PixelRepresentation=None)), "missing-attribute"),
    "no pixels": (one(sets(PixelData=None)), "missing-attribute"),
    "bits stored too many": (each(sets(BitsStored=20)), "unsupported-pixels"),
    "palette": (each(sets(PhotometricInterpretation="PALETTE COLOR")), "colour-image"),
    "YBR": (each(sets(PhotometricInterpretation="YBR_FULL")), "colour-image"),
    "lower case": (each(sets(PhotometricInterpretation="monochrome2")), ""),
    "other kind of grey": (each(sets(PhotometricInterpretation="GRAY")), "unsupported-pixels"),
    "monochrome1": (each(sets(PhotometricInterpretation="MONOCHROME1")), ""),
    "high bit": (each(shifted), ""),
    "MIP of Siemens": (word("AXIAL", "CT_SOM5 MIP"), "projection"),
    "MinIP": (word("REFORMATTED", "MIN_IP"), "projection"),
    "localizer": (word("LOCALIZER"), "localizer"),
    "screen": (word("SCREEN SAVE"), "secondary-capture"),
    "capture": (each(sets(SOPClassUID=SecondaryCaptureImageStorage)), "secondary-capture"),
    "subtraction": (word("M", "SUB"), "subtraction"),
    "map": (word("IODINE MAP"), "parametric-map"),
    "average": (word("REFORMATTED", "AVERAGE"), "thick-slab"),
    "reformat": (word("MPR"), ""),
    "issuer in one": (one(sets(IssuerOfPatientID="HOSPITAL")), ""),
    "other patient in one": (one(sets(PatientID="OTHER")), "conflicting-instances"),
    "no patient ID in one": (one(sets(PatientID=None)), ""),
    "no patient ID and another birth date in one": (
        lambda images: one(sets(PatientID=None))(
            of_volume("PatientBirthDate", "19500101", "19991231")(images)
        ),
        "conflicting-instances",
    ),
    "another birth date in one": (of_volume("PatientBirthDate", "19500101", "19500110"), ""),
    "no rows in one": (one(sets(Rows=0)), "missing-attribute"),
    "another modality": (each(sets(Modality="PT")), "wrong-modality"),
    "another modality in one": (one(sets(Modality="PT")), "wrong-modality"),
    "described as a projection": (described(SeriesDescription="tMIP 10 mm"), "projection"),
    "derivation described": (
        described(DerivationDescription="Maximum intensity projection"),
        "projection",
    ),
    "described as an iodine map": (
        described(SeriesDescription="Iodine Density [mg/ml]"),
        "parametric-map",
    ),
    "description of originals": (
        lambda images: each(sets(SeriesDescription="for MIP"))(
            each(sets(ImageType=["ORIGINAL", "PRIMARY", "OTHER"]))(images)
        ),
        "",
    ),
    "lossy by another word": (each(sets(LossyImageCompression="YES")), ""),
    "coerced accession": (one(sets(AccessionNumber="RIS-1")), ""),
    "duplicate": (duplicated(nothing), ""),
    "scanned again": (duplicated(brighter), "duplicate-positions"),
    "positioning picture": (word("POSDISP", "M", "ND"), "secondary-capture"),
    "dose": (each(sets(ImageType=["ORIGINAL", "PRIMARY", "DOSE"])), "secondary-capture"),
    "scout of the head": (each(sets(ImageType=["ORIGINAL", "PRIMARY", "AAHSCOUT"])), "localizer"),
    "rendering": (word("3D"), "projection"),
    "perfusion": (word("AXIAL", "CT_SOM7 VPCT", "BF"), "parametric-map"),
    "minimum": (word("SWI", "MINIMUM"), "projection"),
    "no image type": (each(sets(ImageType=None)), ""),
    "no instance numbers": (each(sets(InstanceNumber=None)), ""),
    "one instance number": (each(sets(InstanceNumber=1)), ""),
    "unknown character set": (each(sets(SpecificCharacterSet="ISO_IR 999")), ""),
    "two slopes": (each(sets(RescaleSlope=["1", "1"], RescaleIntercept="0")), "unusable-rescale"),
    "tilt by attribute alone": (each(sets(GantryDetectorTilt="15")), ""),
    "child": (each(sets(PatientAge="006Y")), ""),
    "lossy word": (one(lossy_word), ""),
    "lossy flag": (one(sets(LossyImageCompression="01")), ""),
    "slope of 0": (each(sets(RescaleSlope="0", RescaleIntercept="0")), "unusable-rescale"),
}
MR: dict[str, tuple[Change, str]] = {
    "rescale in one": (lambda images: one(RESCALE)(each(NO_RESCALE)(images)), "mixed-units"),
    "real world in one": (one(real_world("ms")), "mixed-units"),
    "LUT in one": (one(modality_lut), "mixed-units"),
    "trace": (word("DIFFUSION", "TRACEW", "ND"), "parametric-map"),
    "relaxation time": (word("T2_STAR"), "parametric-map"),
    "weighted image of several frames": (word("T1", "NONE"), ""),
    "magnitudes in a derived file": (word("M", "NORM", "MFSPLIT"), ""),
    "relative blood flow": (word("RCBF BASIC"), "parametric-map"),
    "milliseconds": (each(real_world("ms")), "parametric-map"),
    "phase of GE": (each(ge_component(1)), "parametric-map"),
    "magnitude of GE": (each(ge_component(0)), ""),
    "imaginary part": (each(sets(ImageType=["ORIGINAL", "PRIMARY", "I"])), "parametric-map"),
    "real part": (each(sets(ImageType=["ORIGINAL", "PRIMARY", "R", "ND"])), ""),
    "phase": (each(sets(ComplexImageComponent="PHASE")), "parametric-map"),
    "another echo time in one": (of_volume("EchoTime", "10", "90"), "four-dimensional"),
    "rounded echo times": (of_volume("EchoTime", "10", "10.02"), ""),
    "another b-value in one": (of_volume("DiffusionBValue", 0.0, 1000.0), "four-dimensional"),
    "fat among water": (
        of_volume(
            "ImageType",
            ["DERIVED", "PRIMARY", "DIXON", "WATER"],
            ["DERIVED", "PRIMARY", "DIXON", "FAT"],
        ),
        "four-dimensional",
    ),
    "another time point in one": (of_volume("TemporalPositionIdentifier", 1, 2), ""),
    "fat fraction": (word("DIXON_FF"), "parametric-map"),
}
CT: dict[str, tuple[Change, str]] = {
    "no rescale": (each(NO_RESCALE), "unusable-rescale"),
    "no rescale in one": (one(NO_RESCALE), "unusable-rescale"),
    "no intercept in one": (one(sets(RescaleIntercept=None)), "unusable-rescale"),
    "HU": (each(sets(RescaleType="HU")), ""),
    "HU in one": (one(sets(RescaleType="HU")), ""),
    "unspecified": (each(sets(RescaleType="US")), "wrong-units"),
    "unspecified in one": (one(sets(RescaleType="US")), "wrong-units"),
    "LUT": (each(modality_lut), "wrong-units"),
    "unit in words": (each(sets(RescaleType="Hounsfield Units")), ""),
    "unit in brackets": (each(sets(RescaleType="[HU]")), ""),
    "modified HU": (each(sets(RescaleType="HU_MOD")), "wrong-units"),
    "density": (each(sets(RescaleType="MGML")), "wrong-units"),
    "two units": (each(sets(RescaleType=["HU", "US"])), "wrong-units"),
    "intercept added again in one": (one(intercept_added), "mixed-units"),
    "electron density": (ct_words("ELECTRON_DENSITY", unit="HU"), "parametric-map"),
    "effective atomic number": (ct_words("EFFECTIVE Z", unit="HU"), "parametric-map"),
    "curved": (ct_words("CSA MPR", "CSACURVED", unit="HU"), "projection"),
    "no value below 0": (
        each(sets(PixelRepresentation=0, RescaleSlope="1", RescaleIntercept="0")),
        "wrong-units",
    ),
    "virtual unenhanced": (ct_words("VIRTUAL UNENHANCED", unit="HU"), ""),
    "one energy": (ct_words("MONO_E"), ""),
    "virtual image in other units": (ct_words("VNC", unit="US"), "wrong-units"),
    "material density": (ct_words("GSI MD", unit="HU"), "parametric-map"),
    "water in HU": (ct_words("WATER", unit="HU"), ""),
    "water without a unit": (ct_words("WATER"), "parametric-map"),
    "iodine in HU": (ct_words("IODINE", unit="HU"), "parametric-map"),
    "bones removed": (ct_words("BONE REMOVAL", unit="HU"), "subtraction"),
    "real world of another unit in one": (
        one(lambda image: (sets(RescaleType=None)(image), real_world("mg/cm3")(image))[0]),
        "wrong-units",
    ),
}
ENHANCED = (  # the object as a whole; frames have groups
    "plain", "no photometric interpretation", "no bits stored", "no high bit", "no sign",
    "bits stored too many", "palette", "monochrome1", "MIP of Siemens", "localizer", "screen",
    "subtraction", "map", "average", "reformat", "coerced accession", "lossy flag",
    "positioning picture", "rendering", "perfusion", "no instance numbers", "child",
    "unknown character set", "another modality", "described as a projection",
    "derivation described", "lossy by another word",
)  # fmt: skip


def in_frame(edit: Edit) -> Change:
    """Edit the functional groups of the second frame."""
    return each(lambda dataset: edit(frames(dataset)[1]))


def in_all_frames(edit: Edit) -> Change:
    def edit_frames(dataset: Dataset) -> None:
        for groups in frames(dataset):
            edit(groups)

    return each(edit_frames)


def frame_type(**values: object) -> Edit:
    return lambda groups: group(groups, "MRImageFrameTypeSequence", **values)


def echo_time(ms: float) -> Edit:
    return lambda groups: group(groups, "MREchoSequence", EffectiveEchoTime=ms)


FRAMES: dict[str, tuple[Change, str]] = {
    "another echo time in one frame": (
        lambda images: in_frame(echo_time(90.0))(in_all_frames(echo_time(10.0))(images)),
        "four-dimensional",
    ),
    "another b-value in one frame": (
        lambda images: in_frame(
            lambda groups: group(groups, "MRDiffusionSequence", DiffusionBValue=1000.0)
        )(
            in_all_frames(lambda groups: group(groups, "MRDiffusionSequence", DiffusionBValue=0.0))(
                images
            )
        ),
        "four-dimensional",
    ),
    "curved by its properties": (
        in_all_frames(frame_type(VolumetricProperties="DISTORTED")),
        "projection",
    ),
    "colours above grey values": (
        in_all_frames(frame_type(PixelPresentation="COLOR")),
        "colour-image",
    ),
    "phase in one frame": (in_frame(frame_type(ComplexImageComponent="PHASE")), "parametric-map"),
    "quantity in one frame": (
        in_frame(frame_type(FrameType=["DERIVED", "PRIMARY", "T2", "QUANTITY"])),
        "parametric-map",
    ),
    "projections by technique": (
        in_all_frames(frame_type(VolumeBasedCalculationTechnique="MAX_IP")),
        "projection",
    ),
    "localizers by frame type": (
        in_all_frames(frame_type(FrameType=["ORIGINAL", "PRIMARY", "LOCALIZER", "NONE"])),
        "localizer",
    ),
    "milliseconds in all frames": (in_all_frames(real_world("ms")), "parametric-map"),
    "milliseconds in one frame": (in_frame(real_world("ms")), "mixed-units"),
}


def rescale(**values: object) -> Edit:
    return lambda groups: group(groups, "PixelValueTransformationSequence", **values)


def ct_frame_type(**values: object) -> Change:
    return in_all_frames(lambda groups: group(groups, "CTImageFrameTypeSequence", **values))


def without_rescale(groups: Dataset) -> None:
    del groups.PixelValueTransformationSequence


def shared_rescale(dataset: Dataset) -> None:
    """Move the rescale of the first frame to the shared groups."""
    item = frames(dataset)[0].PixelValueTransformationSequence[0]
    rescale(RescaleSlope=item.RescaleSlope, RescaleIntercept=item.RescaleIntercept)(shared(dataset))
    for groups in frames(dataset):
        without_rescale(groups)


CT_FRAMES: dict[str, tuple[Change, str]] = {
    "no rescale in one frame": (in_frame(without_rescale), "unusable-rescale"),
    "rescale beside the frames": (
        lambda images: each(sets(RescaleSlope="1", RescaleIntercept="-1024"))(
            in_all_frames(without_rescale)(images)
        ),
        "unusable-rescale",
    ),
    "rescale in the shared groups": (each(shared_rescale), ""),
    "a frame in other units than the shared groups": (
        lambda images: in_frame(rescale(RescaleSlope="1", RescaleIntercept="0", RescaleType="US"))(
            each(shared_rescale)(images)
        ),
        "wrong-units",
    ),
    "unspecified in one frame": (in_frame(rescale(RescaleType="US")), "wrong-units"),
    "maximum": (
        ct_frame_type(FrameType=["DERIVED", "PRIMARY", "VOLUME", "MAXIMUM"]),
        "projection",
    ),
    "one energy": (ct_frame_type(FrameType=["DERIVED", "PRIMARY", "VOLUME", "VMI"]), ""),
    "one material": (
        ct_frame_type(FrameType=["DERIVED", "PRIMARY", "VOLUME", "MAT_SPECIFIC"]),
        "parametric-map",
    ),
    "renderings": (ct_frame_type(VolumeBasedCalculationTechnique="VOLUME_RENDER"), "projection"),
    "curved by its properties": (ct_frame_type(VolumetricProperties="DISTORTED"), "projection"),
    "milligrams in one frame": (in_frame(real_world("mg/cm3")), "mixed-units"),
    "two stacks": (
        in_frame(lambda groups: group(groups, "FrameContentSequence", StackID="2")),
        "four-dimensional",
    ),
    "fewer frames than groups": (each(sets(NumberOfFrames=3)), "enhanced-multi-frame"),
}
WORDS_OF_TEXTS = {  # words of a new caveat -> the oddities that have it
    "reformatted": ("reformat",),
    "several X-ray energies": ("virtual unenhanced", "one energy"),
    "real part of the signal": ("real part",),
}


def rows() -> list[tuple[str, str, Change, str]]:
    """Return source, oddity, change and expected code of every row."""
    table = []
    for source, where in SOURCES.items():
        if where.is_enhanced:
            oddities = {name: ANY[name] for name in ENHANCED}
            oddities |= CT_FRAMES if source.startswith("CT") else FRAMES
        else:
            oddities = ANY | (CT if source.startswith("CT") else MR)
        for oddity, (change, code) in oddities.items():
            table.append((source, oddity, change, code))
    return table


ROWS = rows()


def test_the_table_has_enough_rows() -> None:
    assert len(ROWS) >= 120


@pytest.mark.parametrize(
    ("source", "oddity", "change", "code"), ROWS, ids=[f"{row[0]}: {row[1]}" for row in ROWS]
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_header_of_the_table_gets_its_decision(
    tmp_path: Path, source: str, oddity: str, change: Change, code: str
) -> None:
    plain = read(write(slices_of(source), tmp_path / "plain"))
    paths = write(change(slices_of(source)), tmp_path / "odd")
    if code:
        with pytest.raises(errors.Unsuitable) as caught:
            read(paths)
        assert caught.value.code == code
        assert caught.value.advice
        return
    series = read(paths)
    np.testing.assert_array_equal(series.volume.array, plain.volume.array)
    assert_notes(series, plain, oddity)


def assert_notes(series: Series, plain: Series, oddity: str) -> None:
    """Check that a result would state what is known about its source."""
    new = [caveat for caveat in series.caveats if caveat not in plain.caveats]
    codes = {caveat.code for caveat in new}
    assert (CaveatCode.LOSSY in codes) == oddity.startswith("lossy")
    texts = " ".join(caveat.text for caveat in new)
    for word_of_text, oddities in WORDS_OF_TEXTS.items():
        assert (word_of_text in texts) == (oddity in oddities)
    assert len(series.survey.dropped) == (1 if oddity == "duplicate" else 0)
