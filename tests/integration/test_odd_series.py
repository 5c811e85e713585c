"""Odd but real headers through a running node: the decision about each series, and its result.

Each case is sent as its own study; only what a person at the node can see is checked.
"""

import copy
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from node.states import Ending
from tests.support.commanding import Run
from tests.support.odd_headers import Edit, image_type, modality_lut, palette, sets
from tests.support.orthanc import Orthanc, needs_orthanc, started
from tests.support.packages import make_tiny_package
from tests.support.phantoms import Phantom, make
from tests.support.running import Node, needs_dcmtk, storescu
from tests.support.running import started as node_started

pytestmark = [pytest.mark.orthanc, pytest.mark.dcmtk, pytest.mark.slow, needs_orthanc, needs_dcmtk]

Change = Callable[[list[Dataset]], list[Dataset]]
NO_RESCALE = sets(RescaleSlope=None, RescaleIntercept=None)
PADDING_HU = 512  # of the brightest structure of a phantom, by its noise
WORDS_OF = {"MR": ("ORIGINAL", "PRIMARY", "M"), "CT": ("ORIGINAL", "PRIMARY", "AXIAL")}


@dataclass(frozen=True)
class Case:
    """One odd series, its ending and what `explain` says about it."""

    modality: str
    change: Change
    ending: Ending
    code: str = ""
    words: tuple[str, ...] = ()
    volumes: str = "plain"  # of a result: those of the plain series, "none" or "other"


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
        "MR", every_second(sets(AccessionNumber="RIS-1")), Ending.DELIVERED
    ),
    "MR: two patients in the study": Case(
        "MR", second_patient, Ending.HELD, "conflicting-patients"
    ),
    "MR: two patients in the series": Case(
        "MR", every_second(sets(PatientID="OTHER")), Ending.HELD, "conflicting-instances"
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
    return study, paths


@dataclass(frozen=True)
class Sent:
    """The running node after all cases have ended."""

    node: Node
    studies: dict[str, str]
    files: dict[str, list[Path]]

    def explained(self, run: Run, name: str) -> list[dict[str, Any]]:
        """Return the decisions about the study of a case, as `explain --json` states them."""
        return list(json.loads(self.printed(run, name, "--json"))["series"])

    def printed(self, run: Run, name: str, *options: str) -> str:
        """Return what `explain` prints about the study of a case."""
        place = ("--config", str(self.node.config_file))
        _, printed, errors = run("explain", self.studies[name], *place, *options)
        assert errors == ""
        return printed


@pytest.fixture(scope="module")
def sent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sent]:
    """Send every case to one node, and wait until each has ended."""
    folder = tmp_path_factory.mktemp("odd")
    orthanc = Orthanc(folder / "orthanc")
    for modality in ("MR", "CT"):
        make_tiny_package(folder / "models", task=f"tiny-{modality.lower()}", modality=modality)
    node = Node(folder / "node", orthanc.dicom_port, folder / "models")
    # a slow machine may pause inside an association: only its release completes a series
    node.changes["complete"] = {"settle": "200 ms", "quiet": "10 min"}
    node.changes["rules"] = [
        {"name": "mr", "when": {"modality": "MR"}, "use": "tiny-mr", "send_to": ["pacs"]},
        {"name": "ct", "when": {"modality": "CT"}, "use": "tiny-ct", "send_to": ["pacs"]},
    ]
    studies, files = {}, {}
    with started(orthanc), node_started(node):
        for at, (name, case) in enumerate(CASES.items()):
            studies[name], files[name] = images_of(case, 1, folder / f"case{at}")
            assert storescu(node.port, files[name]) == 0
        node.wait_for_endings(len(CASES) + 1, within_s=900)  # one study has two series
        yield Sent(node, studies, files)


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("name", CASES)
def test_each_series_gets_its_decision(sent: Sent, run: Run, name: str) -> None:
    case = CASES[name]
    series = sent.explained(run, name)
    assert len(series) == (2 if name == "MR: two patients in the study" else 1)
    for one in series:
        assert (one["ending"], one["arrival"]["code"]) == (case.ending, case.code)
    text = sent.printed(run, name)
    assert [words for words in case.words if words not in text] == []
    if case.ending is Ending.DELIVERED:
        assert volumes(series) == expected_volumes(sent, run, case)


def volumes(series: Sequence[dict[str, Any]]) -> dict[str, float]:
    result: dict[str, dict[str, float]] = json.loads(series[0]["segment"]["result"])
    return result["volumes_ml"]


def expected_volumes(sent: Sent, run: Run, case: Case) -> dict[str, float]:
    plain = volumes(sent.explained(run, f"plain {case.modality}"))
    return dict.fromkeys(plain, 0.0) if case.volumes == "none" else plain


def test_a_copy_that_the_archive_coerced_makes_no_second_job(
    sent: Sent, run: Run, tmp_path: Path
) -> None:
    """The archive forwards what the modality sent, with other texts and another time."""
    copies = []
    for path in sent.files["plain MR"]:
        dataset = pydicom.dcmread(path)
        dataset.AccessionNumber, dataset.InstitutionName = "RIS-4711", "Hospital"
        dataset.PatientName = "Canary^Corrected"
        dataset.add_new(0x00080054, "AE", "ARCHIVE")
        copies.append(tmp_path / path.name)
        dataset.save_as(copies[-1])
    before = sent.explained(run, "plain MR")
    assert storescu(sent.node.port, copies, calling="ARCHIVE") == 0
    _, following = images_of(CASES["plain MR"], 1, tmp_path / "following")
    assert storescu(sent.node.port, following) == 0
    sent.node.wait_for_endings(len(CASES) + 2)  # the copy is handled before what follows it
    assert sent.explained(run, "plain MR") == before
