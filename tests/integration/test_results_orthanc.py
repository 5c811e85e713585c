"""Each kind of result, stored in a real PACS by the sender and read back from it."""

import io
import urllib.error
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset

from node import durable
from node.encoding import chosen_encoding
from node.package.folder import file_digest
from node.queue import DeliverPayload, DeliverResult
from node.seg import to_bytes
from node.sender.peer import Peer
from node.sender.store import deliver
from tests.support.delivering import PATIENT, at
from tests.support.orthanc import Orthanc, needs_orthanc, started
from tests.support.phantoms import Phantom
from tests.support.segs import result

pytestmark = [pytest.mark.orthanc, needs_orthanc]
ODD = Phantom(shape=(11, 21, 15))  # rows x columns is no multiple of 8


@pytest.fixture
def pacs(tmp_path: Path) -> Iterator[Orthanc]:
    with started(Orthanc(tmp_path / "orthanc")) as running:
        yield running


def delivered(dataset: Dataset, folder: Path, pacs: Orthanc) -> DeliverResult:
    """Write a result into an outbox and send it, as the sender does."""
    path = folder / "outbox" / "result.dcm"
    path.parent.mkdir(exist_ok=True)
    durable.write(path, to_bytes(dataset))
    payload = DeliverPayload(
        file="outbox/result.dcm",
        sha256=file_digest(path),
        size_bytes=path.stat().st_size,
        sop_class_uid=str(dataset.SOPClassUID),
        sop_instance_uid=str(dataset.SOPInstanceUID),
        study_uid=str(dataset.StudyInstanceUID),
        series_uid=str(dataset.SeriesInstanceUID),
        target="pacs",
    )
    return deliver(Peer("pacs", at(pacs.dicom_port, pacs.ae), "SEGNODE", PATIENT), payload, path)


def test_with_auto_each_frame_of_an_odd_matrix_is_served(pacs: Orthanc, tmp_path: Path) -> None:
    encoding = chosen_encoding("auto", ODD.shape, empty_frames=False)
    r = result(tmp_path, ODD, encoding)
    assert delivered(r.seg, tmp_path, pacs).confirmed_by == "query"
    (instance,) = pacs.get("/instances")
    voxels = r.seg.pixel_array
    for number in range(ODD.shape[0]):
        shown = pacs.get(f"/instances/{instance}/frames/{number}/numpy")
        np.testing.assert_array_equal(np.load(io.BytesIO(shown))[..., 0], voxels[number])


def test_as_binary_a_frame_of_an_odd_matrix_is_not_served(pacs: Orthanc, tmp_path: Path) -> None:
    """The reason for `auto`: viewers that request frame after frame get none."""
    r = result(tmp_path, ODD, chosen_encoding("binary", ODD.shape, empty_frames=False))
    assert int(r.seg.NumberOfFrames) * 21 * 15 % 8
    assert delivered(r.seg, tmp_path, pacs).confirmed_by == "query"
    (instance,) = pacs.get("/instances")
    with pytest.raises(urllib.error.HTTPError):
        pacs.get(f"/instances/{instance}/frames/0/numpy")
