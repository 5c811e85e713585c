"""Each kind of unsuitable series as an administrator meets it: received, decided, explained."""

import json
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path

import pydicom
import pytest

from node import housekeeping, queue, schema
from node.arrival.planning import COMPUTED
from node.config import load
from node.errors import by_code
from node.inbox import Inbox
from tests.support.commanding import Run, configure
from tests.support.odd_headers import Edit, in_slices, sets
from tests.support.phantoms import CANARY, UNSUITABLE_PHANTOMS, Phantom, make
from tests.support.received import receive
from tests.support.running import wait_until

SMALL = (6, 20, 16)


@dataclass(frozen=True)
class Unsuitable:
    """A series, and the code, reason and advice that `explain` must give for it."""

    code: str
    phantom: Phantom
    reason: str
    advice: str


def mr(edit: Edit, slices: tuple[int, ...] | None = None) -> Phantom:
    """Return an MR phantom with edited slices."""
    return Phantom(shape=SMALL, change=in_slices(edit, slices))


def ct(edit: Edit, slices: tuple[int, ...] | None = None) -> Phantom:
    """Return a CT phantom with edited slices."""
    return Phantom(shape=SMALL, modality="CT", change=in_slices(edit, slices))


UNSUITABLE = {
    name: Unsuitable(code, phantom, reason, advice)
    for name, code, phantom, reason, advice in (
        ("missing slice", "missing-slice", None, "1 slice is missing", "Send the missing images"),
        ("uneven spacing", "uneven-spacing", None, "2.80 to 4.20 mm", "even slice distances"),
        ("tilt", "gantry-tilt", None, "tilt of 12.0 degrees", "without tilt"),
        ("two directions", "mixed-orientation", None, "2 different sizes or", "as its own series"),
        ("duplicates", "duplicate-positions", None, "is taken twice", "one image per position"),
        ("time points", "four-dimensional", None, "6 images at 3 places", "one time point"),
        (
            "mosaic",
            "four-dimensional",
            Phantom(shape=SMALL, tags={"ImageType": "ORIGINAL\\PRIMARY\\M\\MOSAIC"}),
            "mosaic of many slices",
            "send an anatomical one",
        ),
        ("localizers", "localizer", None, "12 × localizer", "Send a series of CT or MR slices"),
        ("one slice", "too-few-slices", None, "has 1 slice", "Send the whole series"),
        (
            "too few for the model",
            "too-few-slices",
            Phantom(shape=(2, 20, 16)),
            "2 slices, the model needs at least 3",
            "one with more slices",
        ),
        (
            "spacing outside the model's range",
            "outside-model-range",
            Phantom(shape=SMALL, spacing_mm=(12.0, 1.25, 1.5)),
            "voxel spacing of 12 mm is outside 0.2 to 10 mm",
            "inside these limits",
        ),
        (
            "field of view outside the model's range",
            "outside-model-range",
            Phantom(shape=(4, 4, 4), spacing_mm=(1.0, 0.4, 0.4)),
            "field of view of 1.6 mm is outside 2 to 600 mm",
            "inside these limits",
        ),
        (
            "another modality",
            "wrong-modality",
            Phantom(shape=SMALL, modality="CT"),
            "modality is CT, the model expects MR",
            "in a rule",
        ),
        (
            "frames of another class",
            "enhanced-multi-frame",
            None,
            "holds 12 frames",
            "classic single-frame",
        ),
        (
            "CT without rescale",
            "unusable-rescale",
            ct(sets(RescaleSlope=None, RescaleIntercept=None), (2,)),
            "1 of 6 images",
            "original series",
        ),
        (
            "CT in other units",
            "wrong-units",
            ct(sets(RescaleType="US")),
            "Rescale Type is US",
            "Hounsfield",
        ),
        (
            "MR with units in some images",
            "mixed-units",
            mr(sets(RescaleSlope="2", RescaleIntercept="0"), (1, 2)),
            "4 of 6 images have no Rescale Slope",
            "original series",
        ),
        (
            "projection",
            "projection",
            ct(sets(ImageType=["DERIVED", "SECONDARY", "AXIAL", "CT_SOM5 MIP"])),
            "6 × projection (MIP)",
            "Send a series of CT or MR slices",
        ),
        (
            "iodine map",
            "parametric-map",
            ct(sets(ImageType=["DERIVED", "SECONDARY", "AXIAL", "IODINE"])),
            "IODINE",
            "series that was acquired",
        ),
        (
            "palette",
            "colour-image",
            mr(sets(PhotometricInterpretation="PALETTE COLOR")),
            "PALETTE COLOR",
            "Send a series of CT or MR slices",
        ),
        (
            "no sign of the pixels",
            "missing-attribute",
            mr(sets(PixelRepresentation=None)),
            "PixelRepresentation is absent",
            "original series",
        ),
        (
            "bits that cannot be",
            "unsupported-pixels",
            mr(sets(BitsStored=17)),
            "Bits Stored is 17",
            "original series",
        ),
        ("no frame", "no-frame-of-reference", None, "no Frame of Reference", "original series"),
    )
    for phantom in [phantom or UNSUITABLE_PHANTOMS[code]]
}


@pytest.fixture(scope="module")
def explained(
    tmp_path_factory: pytest.TempPathFactory, tiny_models: Path
) -> tuple[Path, dict[str, str]]:
    """Return the configuration of a node that received all of them, and their study UIDs."""
    folder = tmp_path_factory.mktemp("refusals")
    file = configure(
        folder / "node.yaml",
        tiny_models,
        rules=[{"name": "all", "use": "tiny-mr", "send_to": ["pacs"]}],
        complete={"settle": "100 ms", "quiet": "3 s"},
    )
    config = load(file)
    engine, inbox = schema.open_configured(config.data), Inbox(config.data.dir / "inbox")
    stop = threading.Event()
    loop = threading.Thread(target=housekeeping.run, args=(config, stop))
    loop.start()
    try:
        studies = {}
        for seed, (name, case) in enumerate(UNSUITABLE.items()):
            scan = make(folder / name, replace(case.phantom, seed=seed))
            studies[name] = str(pydicom.dcmread(scan.paths[0]).StudyInstanceUID)
            receive(inbox, scan.paths, time.time())
        wait_until(
            lambda: len(queue.histories(engine)) == len(UNSUITABLE),
            describe=lambda: f"{len(queue.histories(engine))} of {len(UNSUITABLE)} are decided",
        )
    finally:
        stop.set()
        loop.join(240)
    return file, studies


@pytest.mark.parametrize("name", UNSUITABLE)
def test_an_unsuitable_series_is_explained_with_code_reason_and_advice(
    run: Run, explained: tuple[Path, dict[str, str]], name: str
) -> None:
    file, studies = explained
    expected = UNSUITABLE[name]
    status, output, errors = run("explain", studies[name], "--config", file, "--json")
    assert (status, errors) == (0, "")
    (history,) = json.loads(output)["series"]
    arrival = history["arrival"]
    is_picture = issubclass(by_code()[expected.code], COMPUTED)
    ending = "no-rule" if is_picture else "unsuitable"
    assert (history["ending"], arrival["code"]) == (ending, expected.code)
    assert expected.reason in arrival["reason"]
    assert expected.advice in arrival["advice"]
    assert history["segment"] is None, "no job was made"
    assert CANARY.split("^")[0] not in output
    shown = run("explain", studies[name], "--config", file)[1]
    assert expected.reason in shown
    assert expected.advice in shown


def test_each_unsuitable_phantom_is_in_the_table() -> None:
    assert UNSUITABLE_PHANTOMS.keys() <= {case.code for case in UNSUITABLE.values()}
