"""Each refusal as an admin meets it: a series arrives, is decided, and `explain` says why."""

import json
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path

import pydicom
import pytest

from node import housekeeping, queue, schema
from node.config import load
from node.inbox import Inbox
from tests.support.commanding import Run, configure
from tests.support.phantoms import CANARY, REFUSED, Phantom, make
from tests.support.received import receive
from tests.support.running import wait_until

SMALL = (6, 20, 16)


@dataclass(frozen=True)
class Refusal:
    """What arrives, and what must be told about it."""

    code: str
    phantom: Phantom
    reason: str
    advice: str


REFUSALS = {
    name: Refusal(code, phantom, reason, advice)
    for name, code, phantom, reason, advice in (
        ("missing slice", "missing-slice", None, "1 slice is missing", "Send the missing images"),
        ("uneven spacing", "uneven-spacing", None, "2.80 to 4.20 mm", "even slice distances"),
        ("tilt", "gantry-tilt", None, "tilt of 12.0 degrees", "without tilt"),
        ("two directions", "mixed-orientation", None, "2 different sizes or", "as its own series"),
        ("duplicates", "duplicate-positions", None, "are taken twice", "one image per position"),
        ("time points", "four-dimensional", None, "6 images at 3 places", "one time point"),
        (
            "mosaic",
            "four-dimensional",
            Phantom(shape=SMALL, tags={"ImageType": "ORIGINAL\\PRIMARY\\M\\MOSAIC"}),
            "mosaic of many slices",
            "send an anatomical one",
        ),
        ("localizers", "not-an-image", None, "12 × localizer", "Send a series of CT or MR slices"),
        ("one slice", "too-few-slices", None, "has 1 slice", "Send the whole series"),
        (
            "too few for the model",
            "too-few-slices",
            Phantom(shape=(2, 20, 16)),
            "2 slices are fewer than the 3 that the model needs",
            "one with more slices",
        ),
        (
            "spacing outside the model's range",
            "outside-model-range",
            Phantom(shape=SMALL, spacing_mm=(12.0, 1.25, 1.5)),
            "voxel spacing of 12 mm is outside 0.2 to 10 mm",
            "send a series inside these limits",
        ),
        (
            "field of view outside the model's range",
            "outside-model-range",
            Phantom(shape=(4, 4, 4), spacing_mm=(1.0, 0.4, 0.4)),
            "field of view of 1.6 mm is outside 2 to 600 mm",
            "send a series inside these limits",
        ),
        (
            "another modality",
            "wrong-modality",
            Phantom(shape=SMALL, modality="CT"),
            "modality CT is not the model's, MR",
            "Let a rule choose by modality",
        ),
        (
            "frames of another class",
            "enhanced-multi-frame",
            None,
            "holds 12 frames",
            "classic single-frame",
        ),
        ("no frame", "no-frame-of-reference", None, "no Frame of Reference", "original series"),
    )
    for phantom in [phantom or REFUSED[code]]
}


@pytest.fixture(scope="module")
def told(
    tmp_path_factory: pytest.TempPathFactory, tiny_models: Path
) -> tuple[Path, dict[str, str]]:
    """Return the configuration of a node that all of them went through, and their studies' UIDs."""
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
        for seed, (name, refusal) in enumerate(REFUSALS.items()):
            made = make(folder / name, replace(refusal.phantom, seed=seed))
            studies[name] = str(pydicom.dcmread(made.paths[0]).StudyInstanceUID)
            receive(inbox, made.paths, time.time())
        wait_until(
            lambda: len(queue.stories(engine)) == len(REFUSALS),
            120,
            lambda: f"{len(queue.stories(engine))} of {len(REFUSALS)} are decided",
        )
    finally:
        stop.set()
        loop.join(20)
    return file, studies


@pytest.mark.parametrize("name", REFUSALS)
def test_a_refusal_is_told_by_name_with_what_to_do(
    run: Run, told: tuple[Path, dict[str, str]], name: str
) -> None:
    file, studies = told
    wanted = REFUSALS[name]
    status, said, errors = run("explain", studies[name], "--config", file, "--json")
    assert (status, errors) == (0, "")
    (story,) = json.loads(said)["series"]
    arrival = story["arrival"]
    assert (story["ending"], arrival["code"]) == ("refused", wanted.code)
    assert wanted.reason in arrival["reason"]
    assert wanted.advice in arrival["advice"]
    assert story["segment"] is None, "nothing was tried"
    assert CANARY.split("^")[0] not in said
    shown = run("explain", studies[name], "--config", file)[1]
    assert wanted.reason in shown
    assert wanted.advice in shown


def test_no_named_phantom_is_left_out() -> None:
    assert REFUSED.keys() <= {refusal.code for refusal in REFUSALS.values()}
