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


def nothing(_dataset: Dataset) -> None:
    pass


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
    "coerced accession": (one(sets(AccessionNumber="RIS-1")), ""),
    "duplicate": (duplicated(nothing), ""),
    "scanned again": (duplicated(brighter), "duplicate-positions"),
    "lossy flag": (one(sets(LossyImageCompression="01")), ""),
    "slope of 0": (each(sets(RescaleSlope="0", RescaleIntercept="0")), "unusable-rescale"),
}
MR: dict[str, tuple[Change, str]] = {
    "rescale in one": (lambda images: one(RESCALE)(each(NO_RESCALE)(images)), "mixed-units"),
    "real world in one": (one(real_world("ms")), "mixed-units"),
    "LUT in one": (one(modality_lut), "mixed-units"),
    "phase": (each(sets(ComplexImageComponent="PHASE")), "parametric-map"),
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
    "real world of another unit in one": (
        one(lambda image: (sets(RescaleType=None)(image), real_world("mg/cm3")(image))[0]),
        "wrong-units",
    ),
}
ENHANCED = (  # the object as a whole; frames have groups
    "plain", "no photometric interpretation", "no bits stored", "no high bit", "no sign",
    "bits stored too many", "palette", "monochrome1", "MIP of Siemens", "localizer", "screen",
    "subtraction", "map", "average", "reformat", "coerced accession", "lossy flag",
)  # fmt: skip


def rows() -> list[tuple[str, str, Change, str]]:
    """Return source, oddity, change and expected code of every row."""
    table = []
    for source, where in SOURCES.items():
        if where.is_enhanced:
            oddities = {name: ANY[name] for name in ENHANCED}
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
    assert (CaveatCode.LOSSY in codes) == (oddity == "lossy flag")
    assert any("reformatted" in caveat.text for caveat in new) == (oddity == "reformat")
    assert len(series.survey.dropped) == (1 if oddity == "duplicate" else 0)
