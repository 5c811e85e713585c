"""`segnode find`, and accession numbers in place of UIDs, on a real inbox and database."""

import argparse
import json
import shutil
import time
from datetime import date
from pathlib import Path
from typing import Any

import pydicom
import pytest
import yaml

from node import queue, schema
from node.commands.find import days, midnight
from node.commands.terminal import local_time
from node.config import load
from node.errors import Defect
from node.identifiers import open_identifiers
from node.states import Kind
from tests.support.commanding import Run
from tests.support.housekeeping import planned_phantom
from tests.support.rows import T0, a_segment_job, an_arrival


@pytest.fixture(params=["hashed", "plain"])
def stored(configured: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """Return a configuration whose inbox holds one study with a job."""
    content = yaml.safe_load(configured.read_text())
    content["data"]["index"] = request.param
    configured.write_text(yaml.safe_dump(content))
    planned_phantom(configured, tmp_path)
    return configured


def uid_of(tmp_path: Path) -> str:
    return str(pydicom.dcmread(next((tmp_path / "head").iterdir())).StudyInstanceUID)


def studies_of(run: Run, file: Path, *words: str) -> list[dict[str, Any]]:
    status, printed, _ = run("find", *words, "--config", file, "--json")
    assert status == (0 if printed else 1)
    studies: list[dict[str, Any]] = json.loads(printed or "[]")
    return studies


def test_a_study_is_found_by_what_a_person_knows(run: Run, stored: Path, tmp_path: Path) -> None:
    day = local_time(T0)[:10]
    uid = uid_of(tmp_path)
    for words in (
        [],
        ["ACC7"],
        ["CANARY-7"],
        [uid],
        ["--accession", "ACC7"],
        ["--patient", "CANARY-7", "--description", "phantom study"],
        ["--caller", "CT01", "--ending", "in-progress"],
        ["--received", day],
        ["--received", f"{day}..", "--study-date", "2024-03-01..2024-03-31"],
    ):
        assert [study["study_uid"] for study in studies_of(run, stored, *words)] == [uid], words
    for words in (
        ["ACC8"],
        ["--accession", "CANARY-7"],
        ["--ending", "failed"],
        ["--target", "pacs"],
        ["--received", f"..{day[:4]}-01-01"],
        ["--study-date", "2024-03-06"],
    ):
        assert studies_of(run, stored, *words) == [], words


def test_the_table_has_text_only_where_the_database_has_it(run: Run, stored: Path) -> None:
    status, printed, _ = run("find", "--config", stored)
    assert status == 0
    head, row, *_ = printed.splitlines()
    is_text = load(stored).data.index == "plain"
    assert ("accession" in head) == ("ACC7" in row) == ("Phantom study" in row) == is_text
    assert "1 in-progress" in row
    assert "2024-03-05" in row


def test_an_accession_number_stands_for_its_study(run: Run, stored: Path, tmp_path: Path) -> None:
    options = ["--config", stored]
    assert "in-progress" in run("explain", "ACC7", *options)[1]
    assert "segment" in run("jobs", "list", "--study", "ACC7", *options)[1]
    for name in ("ACC7", uid_of(tmp_path)):
        assert json.loads(run("jobs", "show", name, *options, "--json")[1])["id"] == 1
    assert run("jobs", "retry", "ACC7", *options)[0] == 1, "it is queued"
    assert run("jobs", "cancel", "ACC7", *options)[:2] == (0, "job 1 cancelled\n")
    assert run("jobs", "retry", "ACC7", *options)[:2] == (0, "job 1 queued again\n")
    assert run("jobs", "replan", "ACC7", *options)[0] == 0


def test_an_accession_number_that_fits_several_is_refused_with_the_choice(
    run: Run, stored: Path
) -> None:
    data = load(stored).data
    engine, identifiers = schema.open_configured(data), open_identifiers(data)
    for number, accession in ((8, "1"), (9, "ACC7")):
        index = queue.StudyIndex(kept_as=data.index, accession=identifiers.stored_form(accession))
        arrival = an_arrival(number, study_uid=f"1.2.{number}")
        queue.record_arrival(engine, arrival, a_segment_job(number), T0, index=index)
    options = ["--config", stored]
    assert "1.2.9" in run("explain", "ACC7", *options)[2]
    status, _, errors = run("jobs", "show", "1", *options)
    assert status == 1
    assert "is the number of a job, and the accession number" in errors
    now = time.time()
    while job := queue.claim(engine, Kind.SEGMENT, "w", now, 30.0):
        queue.fail(engine, job, Defect("x"), now)
    more = an_arrival(7, study_uid="1.2.9")
    queue.record_arrival(engine, more, a_segment_job(7), T0)
    status, _, errors = run("jobs", "show", "1.2.9", *options)
    assert status == 1
    assert "2 jobs of this study fit" in errors
    assert run("jobs", "retry", "1.2.9", *options)[0] == 0, "one of them has failed"


def test_unknown_distinguishes_its_reasons(run: Run, stored: Path) -> None:
    options = ["--config", stored]
    for command in (["explain"], ["find"], ["jobs", "list", "--study"]):
        assert "was never received" in run(*command, "1.2.3", *options)[2]
        assert "no study with the accession number" in run(*command, "ACC8", *options)[2]
        assert "neither a UID nor an accession" in run(*command, "1..3", *options)[2]
    data = load(stored).data
    engine, identifiers = schema.open_configured(data), open_identifiers(data)
    now = time.time()
    job = queue.claim(engine, Kind.SEGMENT, "w", now, 30.0)
    assert job is not None
    queue.fail(engine, job, Defect("x"), now)
    shutil.rmtree(data.dir / "inbox/series" / job.segment_payload().series_key)
    queue.purge_arrivals(engine, now + 1, now)
    queue.forget_studies(engine, identifiers, now + 1, now)
    today = local_time(now)[:10]
    for text in ("ACC7", job.study_uid, job.series_uid):
        assert f"was forgotten on {today}" in run("explain", text, *options)[2]


def test_without_an_index_the_message_says_so(run: Run, stored: Path) -> None:
    content = yaml.safe_load(stored.read_text())
    content["data"]["index"] = "none"
    stored.write_text(yaml.safe_dump(content))
    assert "accession numbers are not kept" in run("explain", "ACC8", "--config", stored)[2]
    assert "data.index is none" in run("find", "--patient", "x", "--config", stored)[2]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-30", (date(2026, 11, 30), date(2026, 11, 30))),
        ("2026-11-01..2026-11-30", (date(2026, 11, 1), date(2026, 11, 30))),
        ("2026-11-01..", (date(2026, 11, 1), None)),
        ("..2026-11-30", (None, date(2026, 11, 30))),
    ],
)
def test_days_are_read(text: str, expected: tuple[date | None, date | None]) -> None:
    assert days(text) == expected


@pytest.mark.parametrize("text", ["", "..", "yesterday", "2026-02-30", "30.11.2026"])
def test_other_days_are_wrong_usage(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="is no day"):
        days(text)


def test_a_day_begins_at_midnight_here() -> None:
    at = midnight(date(2026, 11, 30))
    assert at is not None
    assert local_time(at).startswith("2026-11-30 00:00:00")
    assert midnight(date(2026, 11, 30), later_days=1) == at + 86400
