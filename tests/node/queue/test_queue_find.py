"""The search for studies, on each kind of database."""

import re
from typing import Any

import pytest
import sqlalchemy as sa

from node import queue, schema
from node.errors import Defect
from node.identifiers import Identifiers
from node.queue import StudyIndex, StudySearch
from node.queue.find import studies_query
from node.queue.page import job_numbers
from node.states import ArrivalOutcome, Ending, Kind, State
from tests.support.rows import SEGMENTED, T0, a_delivery, a_segment_job, an_arrival, claim

PLAIN = Identifiers("plain", b"k" * 32)
HASHED = Identifiers("hashed", b"k" * 32)
NONE = Identifiers("none", b"k" * 32)
DAY_S = 86400.0
MANY = 100_000


def index(identifiers: Identifiers, number: int) -> StudyIndex:
    text = f"Head T1 number{number}"
    return StudyIndex(
        kept_as=identifiers.mode,
        accession=identifiers.stored_form(f"ACC{number}"),
        patient_id=identifiers.stored_form(f"PAT{number % 2}"),
        study_date=f"2024-03-0{number}",
        description=text if identifiers.mode == "plain" else "",
        words=identifiers.stored_words(text),
    )


def add(engine: sa.Engine, number: int, identifiers: Identifiers, **changes: Any) -> int | None:
    """Record study number `number`, received on day `number`."""
    at = T0 + number * DAY_S
    filled: dict[str, Any] = {
        "study_uid": f"1.2.{number}",
        "series_uid": f"1.2.{number}.1",
        "first_at": at - 10,
        "last_at": at,
        "caller_ae": f"CT{number}",
    }
    arrival = an_arrival(number, **(filled | changes))
    is_planned = arrival.outcome is ArrivalOutcome.PLANNED
    job = a_segment_job(number) if is_planned else None
    return queue.record_arrival(engine, arrival, job, at, index=index(identifiers, number)).job_id


def study_numbers(
    engine: sa.Engine, identifiers: Identifiers = PLAIN, **criteria: Any
) -> list[int]:
    search = StudySearch(**criteria)
    studies = queue.find_studies(engine, search, identifiers)
    return [int(study.study_uid.rpartition(".")[2]) for study in studies]


@pytest.mark.parametrize("identifiers", [PLAIN, HASHED], ids=["plain", "hashed"])
@pytest.mark.parametrize(
    ("criteria", "expected"),
    [
        ({}, [3, 2, 1]),
        ({"text": "ACC2"}, [2]),
        ({"text": "PAT1"}, [3, 1]),
        ({"text": " 1.2.3 "}, [3]),
        ({"text": "1.2.3.1"}, [3]),
        ({"text": "ACC"}, []),
        ({"accession": "ACC1"}, [1]),
        ({"accession": "PAT1"}, []),
        ({"patient_id": "PAT0"}, [2]),
        ({"description": "t1 HEAD"}, [3, 2, 1]),
        ({"description": "head number2"}, [2]),
        ({"description": "knee"}, []),
        ({"caller": "CT3"}, [3]),
        ({"received_from": T0 + 2 * DAY_S}, [3, 2]),
        ({"received_to": T0 + 2 * DAY_S}, [1]),
        ({"study_from": "2024-03-02", "study_to": "2024-03-02"}, [2]),
        ({"patient_id": "PAT1", "received_to": T0 + 2 * DAY_S}, [1]),
    ],
)
def test_a_search_finds_what_meets_all_criteria(
    engine: sa.Engine, identifiers: Identifiers, criteria: dict[str, Any], expected: list[int]
) -> None:
    for number in (1, 2, 3):
        add(engine, number, identifiers)
    assert study_numbers(engine, identifiers, **criteria) == expected


def test_a_search_finds_endings_and_targets(engine: sa.Engine) -> None:
    for number in (1, 2, 3):
        add(engine, number, PLAIN)
    unsuitable = {"outcome": ArrivalOutcome.UNSUITABLE, "code": "missing-slice"}
    add(engine, 4, PLAIN, **unsuitable)
    now = T0 + 9 * DAY_S
    deliveries = [a_delivery("pacs", study_uid="1.2.1")]
    queue.finish_segment(engine, claim(engine, now=now), SEGMENTED, deliveries, now)
    queue.fail(engine, claim(engine, now=now), Defect("x"), now)
    assert study_numbers(engine, ending=Ending.IN_PROGRESS) == [3, 1]
    assert study_numbers(engine, ending=Ending.FAILED) == [2]
    assert study_numbers(engine, ending=Ending.UNSUITABLE) == [4]
    assert study_numbers(engine, ending=Ending.DELIVERED) == []
    assert study_numbers(engine, target="pacs") == [1]
    assert study_numbers(engine, target="viewer") == []


def test_a_study_names_its_series_by_ending(engine: sa.Engine) -> None:
    add(engine, 1, PLAIN)
    no_rule = {"outcome": ArrivalOutcome.NO_RULE, "code": "no-rule", "modality": "CT"}
    for series in (5, 6):
        arrival = an_arrival(series, study_uid="1.2.1", last_at=T0 + 9 * DAY_S, **no_rule)
        queue.record_arrival(engine, arrival, None, T0)
    (study,) = queue.find_studies(engine, StudySearch(), PLAIN)
    assert study.endings == {Ending.IN_PROGRESS: 1, Ending.NO_RULE: 2}
    assert study.modalities == ("CT", "MR")
    assert (study.first_at, study.last_at) == (T0 - 10, T0 + 9 * DAY_S)
    assert (study.accession, study.description) == ("ACC1", "Head T1 number1")


def test_an_arriving_study_is_found(engine: sa.Engine) -> None:
    received = queue.ReceivedStudy(study_uid="1.2.5", caller_ae="MR", first_at=T0, last_at=T0)
    queue.record_study(engine, received, index(PLAIN, 5))
    coming = queue.ArrivingSeries(
        series_key="k", study_uid="1.2.5", series_uid="1.2.5.1", instances=3, caller_ae="MR",
        why="waiting for quiet", until=None,
    )  # fmt: skip
    queue.record_arriving(engine, [coming], [])
    (study,) = queue.find_studies(engine, StudySearch(text="1.2.5.1"), PLAIN)
    assert (study.arriving, study.endings) == (1, {})
    assert queue.forget_studies(engine, PLAIN, T0 + 1, T0 + 1) == 0


def test_a_long_list_is_continued_after_its_last_study(engine: sa.Engine) -> None:
    for number in range(1, 6):
        add(engine, number, PLAIN, last_at=T0)  # equal times: the UID orders them
    first = queue.find_studies(engine, StudySearch(), PLAIN, limit=2)
    second = queue.find_studies(engine, StudySearch(), PLAIN, limit=2, before=first[-1])
    third = queue.find_studies(engine, StudySearch(), PLAIN, limit=2, before=second[-1])
    uids = [study.study_uid for study in (*first, *second, *third)]
    assert uids == ["1.2.5", "1.2.4", "1.2.3", "1.2.2", "1.2.1"]


def test_a_stricter_index_removes_text_and_still_finds(engine: sa.Engine) -> None:
    add(engine, 1, PLAIN)
    assert queue.convert_studies(engine, PLAIN) == 0
    assert study_numbers(engine, HASHED, text="ACC1") == [1], "before the conversion too"
    assert queue.convert_studies(engine, HASHED) == 1
    assert queue.convert_studies(engine, HASHED) == 0
    for identifiers in (HASHED, PLAIN):  # plain again: the row stays hashed
        assert queue.convert_studies(engine, identifiers) == 0
        assert study_numbers(engine, identifiers, accession="ACC1", description="number1") == [1]
    (study,) = queue.find_studies(engine, StudySearch(), PLAIN)
    assert (study.accession, study.patient_id, study.description) == ("", "", "")
    assert study.study_date == "2024-03-01"
    assert not re.search("ACC1|PAT1|number1", text_of(engine))
    assert queue.convert_studies(engine, NONE) == 1
    assert study_numbers(engine, NONE, text="1.2.1") == [1]
    assert study_numbers(engine, NONE, study_from="2000-01-01") == []
    assert HASHED.stored_form("ACC1") not in text_of(engine)


def text_of(engine: sa.Engine) -> str:
    with schema.read_transaction(engine) as connection:
        tables = [connection.execute(sa.select(table)).all() for table in (
            schema.studies, schema.study_words, schema.forgotten)]  # fmt: skip
    return str(tables)


def test_images_without_readable_headers_keep_what_is_known(engine: sa.Engine) -> None:
    add(engine, 1, PLAIN)
    arrival = an_arrival(7, study_uid="1.2.1", outcome=ArrivalOutcome.HELD, code="x")
    queue.record_arrival(engine, arrival, None, T0)
    (study,) = queue.find_studies(engine, StudySearch(text="ACC1"), PLAIN)
    assert study.description == "Head T1 number1"


def test_an_accession_number_stands_for_its_study(engine: sa.Engine) -> None:
    for number in (1, 2):
        add(engine, number, HASHED)
    assert queue.resolve_uid(engine, "ACC2", HASHED) == "1.2.2"
    for text in ("1.2.2", "1.2.2.1", "unknown"):
        assert queue.resolve_uid(engine, text, HASHED) == text
    arrival = an_arrival(9, study_uid="1.2.9")
    queue.record_arrival(engine, arrival, a_segment_job(9), T0, index=index(HASHED, 2))
    with pytest.raises(queue.AmbiguousStudy) as caught:
        queue.resolve_uid(engine, "ACC2", HASHED)
    assert sorted(caught.value.uids) == ["1.2.2", "1.2.9"]


@pytest.mark.parametrize("identifiers", [PLAIN, HASHED], ids=["plain", "hashed"])
def test_a_forgotten_study_leaves_its_date(engine: sa.Engine, identifiers: Identifiers) -> None:
    add(engine, 1, identifiers)
    now = T0 + 9 * DAY_S
    queue.finish_segment(engine, claim(engine, now=now), SEGMENTED, [], now)
    later = T0 + 90 * DAY_S
    assert queue.forget_studies(engine, identifiers, later, later) == 0, "it has a history"
    queue.purge_arrivals(engine, later, later)
    assert queue.forget_studies(engine, identifiers, later, later) == 1
    for text in ("1.2.1", "1.2.1.1", "ACC1"):
        assert queue.forgotten_at(engine, text, identifiers) == later
    assert queue.forgotten_at(engine, "1.2.2", identifiers) is None
    assert "ACC1" not in text_of(engine)
    assert study_numbers(engine, identifiers) == []
    assert queue.purge_forgotten(engine, later + 1) == 2
    assert queue.forgotten_at(engine, "1.2.1", identifiers) is None


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> sa.Engine:
    """Return a database with many studies, of one series and one job each; tests only read it."""
    engine = schema.open_database(tmp_path_factory.mktemp("large") / "large.sqlite")
    numbers = (
        "WITH RECURSIVE numbers(n) AS "
        f"(SELECT 0 UNION ALL SELECT n + 1 FROM numbers WHERE n < {MANY - 1})"
    )
    selected = {
        "studies": "'1.' || n, 'plain', 'A' || n, 'P' || (n / 3), (2000 + n % 20) || '-01-01', "
        "'head', 'CT', n, n",
        "study_words": "'word' || (n % 500), '1.' || n",
        "arrivals": "n + 1, '1.' || n, '1.' || n || '.1', 'k', n, 1, 'MR', 'CT', 'unsuitable', "
        "'unsuitable', 'x', '', '', '', '', '', NULL, n, n, n, NULL",
    }
    selected["jobs"] = (
        "n + 1, 'segment', 'done', 'd' || n, '1.' || n, '1.' || n || '.1', n + 1, NULL, '', '{}', "
        "5, 1, 1, n, NULL, NULL, NULL, '', '', '', '{}', '', NULL, '', n, n, n, n"
    )
    with engine.begin() as connection:
        for table, values in selected.items():
            connection.exec_driver_sql(
                f"INSERT INTO {table} {numbers} SELECT {values} FROM numbers"
            )
    return engine


def test_every_criterion_uses_an_index_among_many_studies(large: sa.Engine) -> None:
    """A plan that scans a table would take seconds with ever more studies."""
    searches = [
        StudySearch(),
        StudySearch(text="A77"),
        StudySearch(accession="A77"),
        StudySearch(patient_id="P5"),
        StudySearch(description="word7 word8"),
        StudySearch(caller="CT"),
        StudySearch(target="pacs"),
        StudySearch(ending=Ending.FAILED),
        StudySearch(received_from=5.0, received_to=9.0),
        StudySearch(study_from="2004-01-01", study_to="2004-12-31"),
    ]
    for search in searches:
        plan = plan_of(large, studies_query(search, PLAIN).limit(30))
        for step in plan:
            assert not re.match(r"SCAN (studies|arrivals|jobs|study_words)(?! USING)", step), plan
    assert [s.study_uid for s in queue.find_studies(large, StudySearch(text="A77"), PLAIN)] == [
        "1.77"
    ]
    assert len(queue.find_studies(large, StudySearch(description="word7"), PLAIN)) == 30


@pytest.mark.parametrize("before", [None, 50_000])
@pytest.mark.parametrize(
    "criteria",
    [
        (None, None, ""), (State.DONE, None, ""), (None, Kind.SEGMENT, ""),
        (State.FAILED, Kind.DELIVER, "pacs"), (None, None, "pacs"), (State.DONE, None, "pacs"),
    ],
)  # fmt: skip
def test_a_list_of_jobs_reads_only_the_rows_that_it_shows(
    large: sa.Engine, criteria: tuple[State | None, Kind | None, str], before: int | None
) -> None:
    numbers = job_numbers(before, *criteria).limit(50)
    # without state and kind, rows are read in the order of their numbers until there are enough
    is_ordered = before is None and criteria[:2] == (None, None)
    for step in plan_of(large, numbers):
        if "jobs" in step and not (is_ordered and step == "SCAN jobs"):
            assert re.search("USING (COVERING INDEX|INTEGER PRIMARY KEY)", step), step
    state, kind, target = criteria
    shown = queue.jobs_before(large, before, state=state, kind=kind, target=target, limit=50)
    last = before or MANY + 1
    matches = not target and kind is not Kind.DELIVER
    assert [job.id for job in shown] == [last - one for one in range(1, 51) if matches]


def test_the_next_studies_are_found_by_key(large: sa.Engine) -> None:
    search = StudySearch(ending=Ending.UNSUITABLE)
    first = queue.find_studies(large, search, PLAIN, limit=3)
    following = queue.find_studies(large, search, PLAIN, limit=3, before=first[-1])
    assert [one.study_uid for one in (*first, *following)] == [
        f"1.{MANY - one}" for one in range(1, 7)
    ]


def plan_of(engine: sa.Engine, query: sa.Select[Any] | sa.CompoundSelect[Any]) -> list[str]:
    compiled = query.compile(engine, compile_kwargs={"literal_binds": True})
    with engine.connect() as connection:
        rows = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {compiled}").all()
    return [row[-1] for row in rows]
