"""The encoding of the SEG for each target is chosen when a series is planned."""

from pathlib import Path

import msgspec
import pytest

from node import queue
from tests.support.housekeeping import SETTLED, Site
from tests.support.phantoms import Phantom, make
from tests.support.received import receive
from tests.support.rows import T0


@pytest.mark.parametrize(("columns", "kind"), [(16, "binary"), (15, "labelmap")])
def test_auto_chooses_the_encoding_by_the_matrix(
    site: Site, tmp_path: Path, columns: int, kind: str
) -> None:
    target = msgspec.structs.replace(site.config.targets["pacs"], seg="auto")
    config = msgspec.structs.replace(site.config, targets={"pacs": target})
    scan = make(tmp_path / "odd", Phantom(shape=(12, 21 - columns % 2, columns)))
    receive(site.inbox, scan.paths, T0)
    assert site.fresh(config).run(SETTLED) == 1
    (history,) = queue.histories(site.engine)
    assert history.segment is not None
    (destination,) = history.segment.segment_payload().targets
    assert destination.encoding.kind == kind
