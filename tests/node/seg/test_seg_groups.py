"""Functional groups by their bytes are what pydicom decodes, in whatever form they were written."""

import io

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import ImplicitVRLittleEndian

from node.errors import VerificationFailed
from node.imaging import Labels
from node.seg import to_bytes
from node.seg.decode import NAMES, frames
from node.seg.groups import of_item, per_frame
from node.seg.verify import MALFORMED
from node.series import read as read_series
from tests.support.phantoms import Phantom, make, package
from tests.support.segs import encode_again


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Return a SEG in which two segments lie on each slice."""
    folder = tmp_path_factory.mktemp("groups")
    scan = make(folder / "series", Phantom())
    array = np.full(scan.labels.shape, 1, np.uint8)
    array[:, 5:] = 2
    series = read_series(scan.paths)
    return to_bytes(encode_again(series, Labels(array, scan.grid), package(folder)))


def read(content: bytes) -> Dataset:
    return pydicom.dcmread(io.BytesIO(content))


def rewritten(content: bytes, form: str) -> bytes:
    """Return the same object in another form."""
    dataset = read(content)
    if form == "undefined lengths":
        for item in dataset.PerFrameFunctionalGroupsSequence:
            item.is_undefined_length_sequence_item = True
        dataset["PerFrameFunctionalGroupsSequence"].is_undefined_length = True
    buffer = io.BytesIO()
    if form == "implicit":
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
        pydicom.dcmwrite(buffer, dataset, implicit_vr=True, little_endian=True)
    else:
        pydicom.dcmwrite(buffer, dataset)
    return buffer.getvalue()


def test_groups_equal_those_of_pydicom(content: bytes) -> None:
    groups_of_frames = list(per_frame(read(content), NAMES))
    items = [of_item(item) for item in read(content).PerFrameFunctionalGroupsSequence]
    assert len(groups_of_frames) == len(items)
    for mine, theirs in zip(groups_of_frames, items, strict=True):
        assert dict(mine) == {name: theirs[name] for name in NAMES if name in theirs}
        assert "DerivationImageSequence" in mine


def test_shared_groups_are_decoded_once(content: bytes) -> None:
    groups_of_frames = list(per_frame(read(content), NAMES))
    places = {id(groups["PlanePositionSequence"]) for groups in groups_of_frames}
    assert len(places) == len(groups_of_frames) / 2
    assert len({id(groups["SegmentIdentificationSequence"]) for groups in groups_of_frames}) == 2


@pytest.mark.parametrize("form", ["undefined lengths", "implicit"])
def test_any_other_form_is_read_too(content: bytes, form: str) -> None:
    other = rewritten(content, form)
    assert other != content
    pairs = zip(frames(read(content)), frames(read(other)), strict=True)
    for mine, theirs in pairs:
        np.testing.assert_array_equal(mine.pixels, theirs.pixels)
        np.testing.assert_array_equal(mine.corners_mm, theirs.corners_mm)
        assert (mine.segment, mine.sources) == (theirs.segment, theirs.sources)
        assert mine.is_preserved
        assert theirs.is_preserved


@pytest.mark.parametrize("cut", [1, 9, 40])
def test_a_sequence_that_ends_early_is_not_taken_for_whole(content: bytes, cut: int) -> None:
    """The length of the sequence contradicts its items: pydicom decides, or reading fails."""
    dataset = read(content)
    raw = dataset.get_item("PerFrameFunctionalGroupsSequence")
    dataset._dict[raw.tag] = raw._replace(value=raw.value[:-cut])
    with pytest.raises((VerificationFailed, *MALFORMED)):
        list(frames(dataset))
