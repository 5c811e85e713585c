"""Images of a series that are not slices do not influence the decision about it."""

from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.uid import generate_uid

from node import queue
from node.inbox import sop_key
from node.states import Ending
from tests.support.housekeeping import QUIET, Site, other
from tests.support.odd_headers import image_type, in_slices
from tests.support.phantoms import Phantom, Scan, make
from tests.support.received import receive
from tests.support.rows import T0

SCREENSHOT = {"ImageType": ["DERIVED", "SECONDARY", "SCREEN SAVE"], "Modality": "OT"}


@pytest.mark.parametrize("at", [0, -1], ids=["first", "last"])
def test_a_screenshot_listed_first_or_last_does_not_change_the_rule(
    site: Site, head: Scan, tmp_path: Path, at: int
) -> None:
    """Files are sorted by digests, so the screenshot gets a UID whose digest is first or last."""
    keys = [sop_key(dcmread(path).SOPInstanceUID) for path in head.paths]
    uid = generate_uid()
    while (sop_key(uid) > min(keys)) if at == 0 else (sop_key(uid) < max(keys)):
        uid = generate_uid()
    shot = other(head.paths[0], tmp_path / "x", SOPInstanceUID=uid, **SCREENSHOT)
    folder = receive(site.inbox, [*head.paths, shot], T0)
    assert site.inbox.instances(folder)[at].sop_key == sop_key(uid)
    site.sweep.run(QUIET)
    assert site.ends() == [(Ending.IN_PROGRESS, "")]
    assert queue.histories(site.engine)[0].arrival.modality == "MR"


@pytest.mark.parametrize(
    ("values", "code"),
    [
        (["DERIVED", "SECONDARY", "AXIAL", "CT_SOM5 MIP"], "projection"),
        (["ORIGINAL", "PRIMARY", "LOCALIZER"], "localizer"),
        (["DERIVED", "SECONDARY", "SCREEN SAVE"], "secondary-capture"),
    ],
)
def test_no_rule_matches_a_picture(
    site: Site, tmp_path: Path, values: list[str], code: str
) -> None:
    scan = make(tmp_path / "picture", Phantom(change=in_slices(image_type(*values))))
    receive(site.inbox, scan.paths, T0)
    site.sweep.run(QUIET)
    (history,) = queue.histories(site.engine)
    assert (history.ending, history.arrival.code) == (Ending.NO_RULE, code)
    assert history.arrival.advice
