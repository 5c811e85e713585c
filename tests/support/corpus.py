"""Odd headers of classic CT and MR images: the change of a real series, and the expected code."""

import copy
from collections.abc import Callable

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import SecondaryCaptureImageStorage, generate_uid

from tests.support.odd_headers import Edit, modality_lut, real_world, sets

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
    "lossy derivation": (each(sets(DerivationDescription="Lossy compression 10:1")), ""),
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
    "flat rescale": (each(sets(RescaleSlope="1e-20")), "wrong-units"),
    "steep slope": (each(sets(RescaleSlope="1e30")), "wrong-units"),
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
