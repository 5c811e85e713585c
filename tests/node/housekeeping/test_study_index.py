"""The values of a search are recorded when a study arrives, as `data.index` says."""

from pathlib import Path

import msgspec
import pytest
import sqlalchemy as sa

from node import queue, schema
from node.housekeeping import Sweep
from node.identifiers import open_identifiers
from node.package import uses
from node.queue import StudyMatch, StudySearch
from tests.support.housekeeping import DAY_S, QUIET, SETTLED, Site
from tests.support.phantoms import CANARY, Phantom, Scan, make
from tests.support.reading import shared_reader
from tests.support.received import receive
from tests.support.rows import T0


def with_index(site: Site, mode: str) -> Sweep:
    data = msgspec.structs.replace(site.config.data, index=mode)
    site.config = msgspec.structs.replace(site.config, data=data)
    return Sweep(site.config, site.engine, site.inbox, uses(site.config), shared_reader())


def find(site: Site, text: str = "", description: str = "") -> list[StudyMatch]:
    search = StudySearch(text=text, description=description)
    return queue.find_studies(site.engine, search, open_identifiers(site.config.data))


def dump(engine: sa.Engine) -> str:
    with schema.read_transaction(engine) as connection:
        return str([connection.execute(sa.select(t)).all() for t in schema.METADATA.sorted_tables])


@pytest.mark.parametrize("mode", ["plain", "hashed", "none"])
def test_a_study_is_found_by_what_its_headers_say(site: Site, head: Scan, mode: str) -> None:
    receive(site.inbox, head.paths, T0)
    with_index(site, mode).run(SETTLED)
    is_kept = mode != "none"
    assert len(find(site, "ACC7")) == is_kept
    assert len(find(site, "CANARY-7")) == is_kept
    assert len(find(site, description="phantom STUDY")) == is_kept
    (study,) = find(site)
    assert study.study_date == ("2024-03-05" if is_kept else "")
    assert study.caller_ae == "CT01"
    shown = (study.accession, study.patient_id, study.description)
    assert shown == (("ACC7", "CANARY-7", "Phantom study") if mode == "plain" else ("", "", ""))
    text = dump(site.engine).lower()
    assert CANARY.lower() not in text, "a name is never kept"
    for value in ("acc7", "canary-7", "phantom"):
        assert (value in text) == (mode == "plain")


def test_a_study_is_found_before_it_is_decided(site: Site, head: Scan) -> None:
    receive(site.inbox, head.paths[:4], T0, ends="open")
    site.sweep.run(T0 + 1)
    (study,) = find(site, "ACC7")
    assert (study.arriving, study.endings) == (1, {})


def test_series_that_disagree_are_not_found_by_the_value(site: Site, tmp_path: Path) -> None:
    paths = make(tmp_path / "a", Phantom(shuffle=False)).paths
    other = make(tmp_path / "b", Phantom(shuffle=False, tags={"AccessionNumber": "ACC8"})).paths
    receive(site.inbox, [*paths[:6], *other[6:]], T0)
    site.sweep.run(QUIET)
    assert len(find(site)) == 1
    assert find(site, "ACC7") == find(site, "ACC8") == []
    assert len(find(site, "CANARY-7")) == 1


def test_a_value_of_absurd_length_is_not_searchable_and_changes_nothing(
    site: Site, tmp_path: Path
) -> None:
    phantom = Phantom(shuffle=False, tags={"AccessionNumber": "x" * 100_000})
    receive(site.inbox, make(tmp_path / "a", phantom).paths, T0)
    site.sweep.run(QUIET)
    assert len(find(site, "CANARY-7")) == 1
    assert [ending.value for ending, _ in site.ends()] == ["in-progress"]


def test_pruning_converts_to_a_stricter_index_and_forgets(site: Site, head: Scan) -> None:
    receive(site.inbox, head.paths, T0)
    with_index(site, "plain").run(SETTLED)
    with_index(site, "hashed")
    site.prune(T0 + 60)
    assert "ACC7" not in dump(site.engine)
    assert len(find(site, "ACC7")) == 1
    site.segment(T0 + 10, "pacs")
    site.deliver(T0 + 20)
    site.prune(T0 + 40 * DAY_S)
    site.prune(T0 + 80 * DAY_S)
    assert find(site) == []
    identifiers = open_identifiers(site.config.data)
    assert queue.forgotten_at(site.engine, "ACC7", identifiers) is not None
