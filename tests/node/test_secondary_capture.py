"""The picture of a result as a Secondary Capture image."""

from pathlib import Path

import numpy as np
import pydicom
from PIL import Image, ImageDraw, ImageFont

from node.preview import BACKGROUND, FAINT, LINE_PX, MARGIN_PX, NOTE, PANEL_PX, render
from node.seg import to_bytes
from tests.support.segs import result


def test_it_shows_the_picture_and_belongs_to_the_study(tmp_path: Path) -> None:
    r = result(tmp_path)
    path = tmp_path / "picture.dcm"
    path.write_bytes(to_bytes(r.picture()))
    dataset, source = pydicom.dcmread(path), pydicom.dcmread(r.scan.paths[0])
    for keyword in ("StudyInstanceUID", "PatientID", "PatientName", "AccessionNumber"):
        assert dataset[keyword].value == source[keyword].value, keyword
    pixels = render(r.series.volume, r.labels, r.package.manifest.segments)
    assert (dataset.pixel_array == pixels).all()
    assert dataset.BurnedInAnnotation == "NO", "no identity in it"
    assert (dataset.SeriesNumber, dataset.Modality) == (90036, "OT")
    assert dataset.SeriesDescription.startswith("AI picture phantom-mr 0.1")
    assert len(dataset.SeriesDescription) <= 64
    assert dataset.SeriesInstanceUID != r.seg.SeriesInstanceUID


def test_its_purpose_is_burnt_in(tmp_path: Path) -> None:
    assert "research use only" in NOTE
    r = result(tmp_path)
    pixels = render(r.series.volume, r.labels, r.package.manifest.segments)
    line = Image.new("RGB", (pixels.shape[1], LINE_PX), BACKGROUND)
    draw, font = ImageDraw.Draw(line), ImageFont.load_default(14)
    draw.text((MARGIN_PX, LINE_PX // 2), NOTE, FAINT, font, anchor="lm")
    expected = np.asarray(line)
    starts = range(PANEL_PX, len(pixels) - LINE_PX + 1)
    assert any(np.array_equal(pixels[at : at + LINE_PX], expected) for at in starts)


def test_the_same_inputs_give_the_same_bytes(tmp_path: Path) -> None:
    r = result(tmp_path)
    assert to_bytes(r.picture()) == to_bytes(r.picture())
