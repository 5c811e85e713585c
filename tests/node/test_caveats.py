"""Each caveat of a result stands in the history, in the report and in the picture."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pydicom
import pytest
from PIL import Image, ImageDraw, ImageFont
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from node import queue
from node.caveats import CaveatCode, age_caveats
from node.package.manifest import Range
from node.preview import BACKGROUND, INK, LINE_PX, MARGIN_PX, PANEL_PX, preview
from node.segmenter import SegmentedSeries, segment_series
from node.segmenter.requests import request_of
from node.states import Kind
from tests.node.test_report import comments
from tests.support.commanding import Run, configure
from tests.support.odd_headers import in_slices, sets
from tests.support.packages import make_tiny_package
from tests.support.phantoms import Phantom, Scan
from tests.support.rows import SEGMENTED, T0
from tests.support.segmenting import ONE_MM, PACS, Site, make_site


def no_pixels(dataset: Dataset, _z: int) -> None:
    dataset.PixelData = bytes(len(dataset.PixelData))


def with_duplicate(scan: Scan) -> list[Path]:
    """Add a copy of the fourth image under another UID."""
    dataset = pydicom.dcmread(scan.paths[3])
    dataset.SOPInstanceUID, dataset.InstanceNumber = generate_uid(), 99
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    path = scan.paths[3].with_name("duplicate.dcm")
    dataset.save_as(path)
    return [*scan.paths, path]


def unchanged(scan: Scan) -> list[Path]:
    return scan.paths


Files = Callable[[Scan], list[Path]]
CASES: dict[CaveatCode, tuple[Phantom, Files, str]] = {  # with words of the text
    CaveatCode.NOTHING_DETECTED: (replace(ONE_MM, change=no_pixels), unchanged, "Nothing"),
    CaveatCode.CUT: (replace(ONE_MM, drop=tuple(range(6, 12))), unchanged, "field of view"),
    CaveatCode.AGE: (replace(ONE_MM, tags={"PatientAge": "017Y"}), unchanged, "under 18"),
    CaveatCode.DERIVED: (
        replace(ONE_MM, change=in_slices(sets(ImageType=["DERIVED", "SECONDARY", "MPR"]))),
        unchanged,
        "reformatted",
    ),
    CaveatCode.REPAIRED: (
        replace(ONE_MM, change=in_slices(sets(PatientSex="X"))),
        unchanged,
        "PatientSex",
    ),
    CaveatCode.LEFT_OUT: (ONE_MM, with_duplicate, "1 × duplicate of image"),
    CaveatCode.LOSSY: (
        replace(ONE_MM, change=in_slices(sets(LossyImageCompression="01"), (2,))),
        unchanged,
        "1 of 12 source images",
    ),
}


@pytest.mark.parametrize("code", CASES)
def test_a_caveat_stands_in_history_report_and_picture(
    run: Run, tmp_path: Path, code: CaveatCode
) -> None:
    phantom, files, words = CASES[code]
    site = make_site(tmp_path)
    scan, segmented = segment(site, phantom, files)
    (caveat,) = segmented.done.caveats
    assert caveat.code is code
    assert words in caveat.text
    assert bool(caveat.structures) is (code is CaveatCode.CUT)
    assert caveat.text in explained(run, site, scan, segmented)
    (report,) = site.config.data.dir.glob("outbox/*/report-*")
    assert comments(pydicom.dcmread(report)).count(caveat.text) == 1
    segments = segmented.package.manifest.segments
    path = tmp_path / "preview.png"
    preview(segmented.source.volume, segmented.labels, segments, path, segmented.done.caveats)
    assert is_shown(path, caveat.text)


def segment(site: Site, phantom: Phantom, files: Files) -> tuple[Scan, SegmentedSeries]:
    """Segment a phantom for a target with a report, as the node's child does."""
    target = msgspec.structs.replace(PACS, report=True)
    scan, job_id = site.add_series(1, phantom, targets=(target,))
    job = queue.get(site.engine, job_id)
    request = request_of(site.config, job, job.segment_payload())
    names = tuple(path.name for path in files(scan))
    request = msgspec.structs.replace(request, files=names)
    return scan, segment_series(request, 1, lambda _stage, _share: None)


def explained(run: Run, site: Site, scan: Scan, segmented: SegmentedSeries) -> str:
    """Finish the job as the segmenter does; return what `explain` prints."""
    job = queue.claim(site.engine, Kind.SEGMENT, "w", T0 + 1, 30.0)
    assert job is not None
    result = msgspec.structs.replace(SEGMENTED, caveats=segmented.done.caveats)
    queue.finish_segment(site.engine, job, result, [], T0 + 2)
    config = configure(site.config.data.dir.parent / "node.yaml", site.config.model.dir)
    study = pydicom.dcmread(scan.paths[0]).StudyInstanceUID
    status, output, _ = run("explain", study, "--config", config)
    assert status == 0
    return output.partition("\nat ")[0]  # without the events


def is_shown(picture: Path, text: str) -> bool:
    """Compare each line of a legend with the same text in the same font."""
    with Image.open(picture) as opened:
        pixels = np.asarray(opened)
    line = Image.new("RGB", (pixels.shape[1], LINE_PX), BACKGROUND)
    font = ImageFont.load_default(14)
    ImageDraw.Draw(line).text((MARGIN_PX, LINE_PX // 2), text, INK, font, anchor="lm")
    expected = np.asarray(line)
    starts = range(PANEL_PX, len(pixels) - LINE_PX + 1)
    return any(np.array_equal(pixels[at : at + LINE_PX], expected) for at in starts)


def test_an_age_for_which_a_package_was_not_made_is_a_caveat(tmp_path: Path) -> None:
    accepted = make_tiny_package(tmp_path).manifest.input
    assert [one.code for one in age_caveats(accepted, 6.0)] == [CaveatCode.AGE]
    assert age_caveats(accepted, 18.0) == ()
    assert age_caveats(accepted, None) == ()
    assert age_caveats(accepted, 0.0) == (), "anonymisers write 0 for an unknown age"
    for_all = msgspec.structs.replace(accepted, age_years=Range(low=0, high=120))
    assert age_caveats(for_all, 6.0) == ()
    adults = msgspec.structs.replace(accepted, age_years=Range(low=18, high=90))
    (caveat,) = age_caveats(adults, 6.0)
    assert (caveat.code, "outside 18 to 90 years" in caveat.text) == (CaveatCode.AGE, True)
    assert [len(age_caveats(adults, age)) for age in (18.0, 90.0, 91.0, 0.0)] == [0, 0, 1, 0]
