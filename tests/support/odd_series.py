"""Odd but real headers for a running node: the series of each case, and the expected decision."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from node.states import Ending
from tests.support.enhanced import enhance, frames, group
from tests.support.odd_headers import Edit, image_type, modality_lut, palette, sets
from tests.support.phantoms import Phantom, Scan, make

Change = Callable[[list[Dataset]], list[Dataset]]
NO_RESCALE = sets(RescaleSlope=None, RescaleIntercept=None)
PADDING_HU = 512  # of the brightest structure of a phantom, by its noise


@dataclass(frozen=True)
class Case:
    """One odd series, its ending and what `explain` says about it."""

    modality: str
    change: Change
    ending: Ending
    code: str = ""
    words: tuple[str, ...] = ()
    volumes: str = "plain"  # of a result: those of the plain series, or "none"
    change_image: Edit | None = None  # of the one multi-frame image that is made of the slices


def each(edit: Edit, images: slice = slice(None)) -> Change:
    def change(datasets: list[Dataset]) -> list[Dataset]:
        for dataset in datasets[images]:
            edit(dataset)
        return datasets

    return change


def pixels(values: Callable[[Any], Any], *edits: Edit) -> Change:
    """Replace the stored values of all images, then edit their headers."""

    def change(datasets: list[Dataset]) -> list[Dataset]:
        for dataset in datasets:
            kind = "<i2" if dataset.PixelRepresentation else "<u2"
            stored = values(np.frombuffer(dataset.PixelData, kind))
            dataset.PixelData = stored.astype("<u2" if stored.itemsize > 1 else "u1").tobytes()
            for edit in edits:
                edit(dataset)
        return datasets

    return change


def again(*edits: Edit) -> Change:
    """Add the fifth image once more under another UID."""

    def change(datasets: list[Dataset]) -> list[Dataset]:
        second = copy.deepcopy(datasets[4])
        # at one place, the UIDs decide the order
        uids = sorted([generate_uid(), generate_uid()])
        datasets[4].SOPInstanceUID, second.SOPInstanceUID = uids
        second.InstanceNumber = 99
        for edit in edits:
            edit(second)
        return [*datasets, second]

    return change


def brighter(dataset: Dataset) -> None:
    stored = np.frombuffer(dataset.PixelData, "<u2") + 1
    dataset.PixelData = stored.astype("<u2").tobytes()


def every_second(edit: Edit) -> Change:
    return each(edit, slice(None, None, 2))


def padded(dataset: Dataset) -> None:
    dataset.add_new(0x00280120, "SS", PADDING_HU)


def chain(*edits: Edit) -> Edit:
    def edit_all(dataset: Dataset) -> None:
        for edit in edits:
            edit(dataset)

    return edit_all


def echo_times_by_frame(image: Dataset) -> None:
    for at, groups in enumerate(frames(image)):
        group(groups, "MREchoSequence", EffectiveEchoTime=3.0 if at % 2 else 80.0)


def second_patient(datasets: list[Dataset]) -> list[Dataset]:
    """Add a series of another patient to the study."""
    other = copy.deepcopy(datasets)
    series = generate_uid()
    for dataset in other:
        dataset.SeriesInstanceUID, dataset.SOPInstanceUID = series, generate_uid()
        dataset.PatientID, dataset.PatientName = "OTHER", "Other^Person"
    return [*datasets, *other]


def lacking(keyword: str) -> Case:
    change = each(sets(**{keyword: None}))
    return Case("MR", change, Ending.UNSUITABLE, "missing-attribute", (keyword, "12 of 12"))


UNUSABLE = (Ending.UNSUITABLE, "unusable-rescale")
UNITS = (Ending.UNSUITABLE, "wrong-units")
CASES = {
    "plain MR": Case("MR", each(sets()), Ending.DELIVERED),
    "plain CT": Case("CT", each(sets()), Ending.DELIVERED),
    "CT: no rescale": Case("CT", each(NO_RESCALE), *UNUSABLE, ("12 of 12",)),
    "CT: some without rescale": Case("CT", each(NO_RESCALE, slice(2, 4)), *UNUSABLE, ("3, 4",)),
    "CT: identity instead of a rescale": Case(
        "CT", each(sets(PixelRepresentation=0), slice(2, 4)), *UNITS, ("3, 4", "below 0")
    ),
    "CT: unspecified units": Case("CT", each(sets(RescaleType="US")), *UNITS, ("Type is US",)),
    "CT: table": Case("CT", each(modality_lut), *UNITS, ("Modality LUT",)),
    "CT: projection": Case(
        "CT",
        each(image_type("DERIVED", "SECONDARY", "AXIAL", "CT_SOM5 MIP")),
        Ending.NO_RULE,
        "projection",
    ),
    "CT: material": Case(
        "CT",
        each(image_type("DERIVED", "SECONDARY", "AXIAL", "GSI MD")),
        Ending.NO_RULE,
        "parametric-map",
    ),
    "CT: virtual unenhanced in HU": Case(
        "CT",
        each(image_type("DERIVED", "PRIMARY", "AXIAL", "VIRTUAL UNENHANCED")),
        Ending.DELIVERED,
        words=("derived from several X-ray energies",),
    ),
    "CT: padding value in the body": Case(
        "CT", each(padded), Ending.DELIVERED, words=("Pixel Padding Value occurs inside",)
    ),
    "MR: trace": Case(
        "MR",
        each(image_type("DERIVED", "PRIMARY", "DIFFUSION", "TRACEW")),
        Ending.NO_RULE,
        "parametric-map",
    ),
    "MR: colour map": Case(
        "MR",
        pixels(lambda a: (a // 8).astype("u1"), palette),
        Ending.UNSUITABLE,
        "colour-image",
        ("PALETTE COLOR",),
    ),
    "MR: values above Bits Stored": Case(
        "MR",
        each(sets(BitsStored=8, HighBit=7)),
        Ending.DELIVERED,
        words=("bits outside Bits Stored", "Nothing detected"),
        volumes="none",
    ),
    "MR: High Bit": Case("MR", pixels(lambda a: a << 4, sets(HighBit=15)), Ending.DELIVERED),
    "MR: one image twice": Case(
        "MR", again(), Ending.DELIVERED, words=("1 × duplicate of image 5",)
    ),
    "MR: one place scanned again": Case(
        "MR", again(brighter), Ending.UNSUITABLE, "duplicate-positions", ("images 5 and 99",)
    ),
    "MR: issuer in some": Case(
        "MR", every_second(sets(IssuerOfPatientID="HOSPITAL")), Ending.DELIVERED
    ),
    "MR: accession number coerced in some": Case(
        "MR",
        every_second(sets(AccessionNumber="RIS-1")),
        Ending.DELIVERED,
        words=("AccessionNumber has 2 values in the images",),
    ),
    "MR: two patients in the study": Case(
        "MR", second_patient, Ending.HELD, "conflicting-patients"
    ),
    "MR: two patients in the series": Case(
        "MR", every_second(sets(PatientID="OTHER")), Ending.HELD, "conflicting-instances"
    ),
    "MR: no patient ID in half": Case(
        "MR",
        each(sets(PatientID=None), slice(0, 6)),
        Ending.DELIVERED,
        words=("PatientID was absent in 6 of 12 images",),
    ),
    "MR: no patient ID and another birth date in half": Case(
        "MR",
        each(sets(PatientID=None, PatientBirthDate="19800202"), slice(0, 6)),
        Ending.HELD,
        "conflicting-instances",
        ("2 different patients by birth date", "--part 1"),
    ),
    "MR: two echo times": Case(
        "MR",
        each(sets(EchoTime="80"), slice(6, 12)),
        Ending.UNSUITABLE,
        "four-dimensional",
        ("echo times, 3 to 80 ms",),
    ),
    "MR: SOP class of CT": Case(
        "MR", each(sets(Modality="CT")), Ending.UNSUITABLE, "wrong-modality"
    ),
    "MR: sign against the unused bits": Case(
        "MR",
        pixels(lambda a: a + 3000, sets(PixelRepresentation=1)),
        Ending.DELIVERED,
        words=("negative by Pixel Representation", "Nothing detected"),
        volumes="none",
    ),
    "MR: described as a map": Case(
        "MR",
        each(chain(image_type("DERIVED", "SECONDARY"), sets(SeriesDescription="ax ADC"))),
        Ending.NO_RULE,
        "parametric-map",
    ),
    "CT: intercept added again in some": Case(
        "CT",
        each(sets(RescaleIntercept="-1024"), slice(2, 4)),
        Ending.UNSUITABLE,
        "mixed-units",
        ("-1024 in 2 of 12 images", "3, 4"),
    ),
    "CT: unit in words": Case("CT", each(sets(RescaleType="Hounsfield units")), Ending.DELIVERED),
    "CT: multi-frame": Case("CT", each(sets()), Ending.DELIVERED, change_image=sets()),
    "CT: multi-frame, one frame unspecified": Case(
        "CT",
        each(sets(RescaleType="US"), slice(4, 5)),
        *UNITS,
        ("Type is US in 1 of 12",),
        change_image=sets(),
    ),
    "CT: multi-frame, projections": Case(
        "CT",
        each(image_type("DERIVED", "PRIMARY", "VOLUME", "MAXIMUM")),
        Ending.NO_RULE,
        "projection",
        change_image=sets(),
    ),
    "CT: multi-frame, lossy": Case(
        "CT",
        each(sets()),
        Ending.DELIVERED,
        words=("Lossy source: 12 of 12",),
        change_image=sets(LossyImageCompression="01"),
    ),
    "MR: multi-frame": Case("MR", each(sets()), Ending.DELIVERED, change_image=sets()),
    "MR: multi-frame, two echo times": Case(
        "MR",
        each(sets()),
        Ending.UNSUITABLE,
        "four-dimensional",
        change_image=echo_times_by_frame,
    ),
    "MR: no photometric interpretation": lacking("PhotometricInterpretation"),
    "MR: no samples": lacking("SamplesPerPixel"),
    "MR: no bits stored": lacking("BitsStored"),
    "MR: no sign": lacking("PixelRepresentation"),
    "MR: no image type": Case("MR", each(sets(ImageType=None)), Ending.DELIVERED),
    "MR: no signal": Case(
        "MR",
        pixels(lambda a: a * 0),
        Ending.DELIVERED,
        words=("Nothing detected",),
        volumes="none",
    ),
    "MR: lossy word": Case(
        "MR",
        each(image_type("ORIGINAL", "PRIMARY", "M", "JP2K LOSSY 6:1"), slice(3, 4)),
        Ending.DELIVERED,
        words=("Lossy source: 1 of 12",),
    ),
    "MR: child": Case(
        "MR",
        each(sets(PatientBirthDate="20140305")),  # ten years before the study
        Ending.DELIVERED,
        words=("Patient under 18 years",),
    ),
}


def images_of(case: Case, seed: int, folder: Path) -> tuple[str, list[Path]]:
    """Write the series of a case; return its Study Instance UID and its files."""
    phantom = Phantom(modality=case.modality, seed=seed, spacing_mm=(1, 1, 1), shuffle=False)
    datasets = [pydicom.dcmread(path) for path in make(folder / "plain", phantom).paths]
    study, series = generate_uid(), generate_uid()
    for dataset in datasets:
        dataset.StudyInstanceUID, dataset.SeriesInstanceUID = study, series
        dataset.SOPInstanceUID = generate_uid()
    paths = []
    with pydicom.config.disable_value_validation():
        for at, dataset in enumerate(case.change(datasets)):
            dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
            paths.append(folder / f"{at:03d}.dcm")
            dataset.save_as(paths[-1])
    if case.change_image is not None:
        uids = [str(pydicom.dcmread(path).SOPInstanceUID) for path in paths]
        none = np.zeros(0)
        scan = Scan(paths, none.astype("u1"), none.astype("f4"), none, uids)
        paths = [enhance(scan, folder / "frames.dcm", change=case.change_image)]
    return study, paths
