"""Payloads and results: a round trip, and no path outside the data folder."""

import msgspec
import pytest

from node.errors import Defect
from node.queue import payloads
from node.queue.payloads import DeliverPayload, SegmentPayload
from tests.support.rows import SEGMENTED, a_delivery, a_segment_job


def test_payloads_and_results_survive_a_round_trip() -> None:
    segment, deliver = a_segment_job().payload, a_delivery().payload
    assert payloads.decode(payloads.encode(segment), SegmentPayload) == segment
    assert payloads.decode(payloads.encode(deliver), DeliverPayload) == deliver
    assert payloads.as_plain(payloads.encode(SEGMENTED))["volumes_ml"] == {"Liver": 1.5}
    assert payloads.as_plain("") == {}


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"colour": 1}'])
def test_a_payload_of_another_version_is_a_defect(text: str) -> None:
    with pytest.raises(Defect, match="does not hold a SegmentPayload"):
        payloads.decode(text, SegmentPayload)


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a/../b", "a//b", ".x", "", "a\n", "a/b/"])
def test_no_path_leaves_the_data_folder(name: str) -> None:
    good = a_delivery().payload
    text = payloads.encode(msgspec.structs.replace(good, file=name))
    with pytest.raises(Defect):
        payloads.decode(text, DeliverPayload)


@pytest.mark.parametrize("field", ["series_key", "files"])
@pytest.mark.parametrize("name", ["..", ".", "a/b", "../../x", "/x"])
def test_no_name_is_a_path(field: str, name: str) -> None:
    good = a_segment_job().payload
    bad = {field: (name,) if field == "files" else name}
    text = payloads.encode(msgspec.structs.replace(good, **bad))
    with pytest.raises(Defect):
        payloads.decode(text, SegmentPayload)
