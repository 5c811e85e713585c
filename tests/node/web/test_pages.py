"""What the page shows, and what it answers to wrong requests."""

import html
import time

import pytest
import sqlalchemy as sa
from starlette.testclient import TestClient

from node import queue, schema
from node.conditions import ConditionCode
from node.config import Config
from node.inbox import Inbox
from node.states import State
from node.web.guard import MOST_BODY_BYTES
from tests.node.web.conftest import ORIGIN, client_of, send
from tests.support.pages import HOSTILE

PATHS = (
    "/", "/studies", "/studies?ending=held", "/search", "/studies/3", "/studies/3/replan", "/jobs",
    "/jobs?state=failed&kind=deliver&target=archive", "/jobs/1", "/jobs/1/resend",
    "/targets/archive", "/packages", "/metrics",
)  # fmt: skip


@pytest.mark.parametrize("path", PATHS)
def test_a_page_is_complete_and_runs_no_script(client: TestClient, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 200, answer.text
    assert HOSTILE not in answer.text
    assert "<script" not in answer.text
    assert "style=" not in answer.text, "the policy forbids it"
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert answer.headers["cache-control"] == "no-store"


def test_the_overview_begins_with_the_conditions(client: TestClient) -> None:
    text = client.get("/").text
    places = [text.index(code) for code in ("target-refuses", "target-silent", "series-held")]
    assert places == sorted(places)
    assert max(places) < text.index("Queue")
    assert "does not know our AE title" in text


@pytest.mark.parametrize("caller", ["%00", "%ed%a0%80", "%ff", "a" * 999, "%E2%80%AEx", "';--"])
def test_an_odd_filter_matches_nothing(client: TestClient, caller: str) -> None:
    answer = client.get(f"/studies?caller={caller}")
    assert answer.status_code == 200
    assert "Internal error" not in answer.text


def test_texts_of_peers_are_escaped(client: TestClient) -> None:
    assert html.escape(HOSTILE, quote=False).partition('"')[0] in client.get("/").text
    assert "&lt;script&gt;" in client.get("/studies/3").text


def test_a_study_shows_volumes_caveats_and_its_history(client: TestClient) -> None:
    text = client.get("/studies/3").text
    for expected in (
        "5.96",
        "Hippocampus",
        "-0.243 (4%)",
        "27.4 (cut)",
        "All source images are derived",
        "A2026-003",
    ):
        assert expected in text
    assert "/studies/3/preview.png" in text
    picture = client.get("/studies/3/preview.png")
    assert picture.headers["content-type"] == "image/png"
    assert picture.content[:4] == b"\x89PNG"


def test_a_result_without_a_picture_says_so(client: TestClient) -> None:
    assert client.get("/studies/7/preview.png").status_code == 404


def test_packages_show_their_evidence(client: TestClient) -> None:
    text = client.get("/packages").text
    assert "brain-mr/" in text
    assert "not measured yet" in text


@pytest.mark.parametrize("kind", ["text", "description"])
def test_a_search_finds_by_post_alone(client: TestClient, kind: str) -> None:
    typed = {"text": "A2026-004", "description": "brain"}[kind]
    status, text = send(client, "/search", **{kind: typed})
    assert status == 200
    assert "A2026-004" in text
    assert ("A2026-003" in text) is (kind == "description")
    assert "A2026-004" not in client.get(f"/search?{kind}={typed}").text


def test_a_long_list_goes_on(config: Config, rows: sa.Engine) -> None:
    with rows.begin() as connection:
        for number in range(120):
            uid = f"1.9.{number:03}"
            connection.execute(sa.insert(schema.studies).values(
                study_uid=uid, kept_as="plain", accession="", patient_id="", study_date="",
                description="", caller_ae="A", first_at=1.0, last_at=1000.0 - number,
            ))  # fmt: skip
            connection.execute(sa.insert(schema.arrivals).values(
                study_uid=uid, series_uid=uid, series_key=uid, inputs_digest=uid, instances=1,
                modality="MR", caller_ae="A", outcome="no-rule", code="no-rule", reason="",
                advice="", rule="", package="", size="", first_at=1.0, last_at=1.0,
                planned_at=1.0, ending="no-rule",
            ))  # fmt: skip
    client, listed, path = client_of(config), [], "/studies?caller=A"
    while path:
        text = client.get(path).text
        listed += [uid for uid in (f"1.9.{n:03}" for n in range(120)) if f">{uid}<" in text]
        path = html.unescape(text.partition('<p><a class="button" href="')[2].partition('"')[0])
        path = path if path.startswith("/studies?") else ""
    assert listed == [f"1.9.{number:03}" for number in range(120)]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/nothing", 404), ("/studies/abc", 404), ("/studies/999", 404), ("/jobs/" + "9" * 30, 404),
        ("/jobs/1/explode", 404), ("/targets/none", 404), ("/jobs?state=happy", 400),
        ("/studies?ending=x", 400), ("/studies?after=x", 404), ("/jobs?after=-1", 404),
        ("/studies/1/preview.png/../../x", 404), ("/" + "a" * 3000, 414), ("/jobs/%00", 404),
        ("/jobs/١", 404), ("/studies?after=1.5", 404), ("/jobs?kind=dance", 400),
        ("/targets/%ff%00", 404), ("/studies/1/replan/x", 404), ("/jobs/0x1", 404),
    ],
)  # fmt: skip
def test_a_wrong_address_is_answered_in_words(client: TestClient, path: str, status: int) -> None:
    answer = client.get(path)
    assert answer.status_code == status
    assert "<h1>" in answer.text
    assert "Internal error" not in answer.text


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS"])
def test_other_methods_are_refused(client: TestClient, method: str) -> None:
    assert client.request(method, "/jobs/1").status_code == 405


def test_a_form_that_is_too_large_or_no_form_is_refused(client: TestClient) -> None:
    client.get("/search")
    large = {"text": "x" * MOST_BODY_BYTES}
    assert client.post("/search", data=large, headers={"Origin": ORIGIN}).status_code == 413
    assert client.post("/search", json={}, headers={"Origin": ORIGIN}).status_code == 415
    kind = {"Origin": ORIGIN, "Content-Type": "application/x-www-form-urlencoded"}
    assert client.post("/search", content=b"text=%ff", headers=kind).status_code == 400
    assert client.post("/search", content=b"a=&" * 99, headers=kind).status_code == 400


@pytest.mark.parametrize("typed", ["30.11.2026", "2026-W48-1", "20261130", "2026-02-30", "x" * 99])
def test_wrong_dates_are_refused_in_words(client: TestClient, typed: str) -> None:
    status, text = send(client, "/search", study_from=typed)
    assert status == 400
    assert "YYYY-MM-DD" in text


def test_a_period_that_ends_before_it_begins_is_refused(client: TestClient) -> None:
    status, text = send(client, "/search", study_from="2026-11-30", study_to="2026-11-29")
    assert (status, "after the last" in text) == (400, True)


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ({"text": "1.2.3.4.99"}, "was never received"),
        ({"text": "1.2.826.0.1.500"}, "was forgotten on 2001-09-0"),
        ({"text": "1..2"}, "are no valid UID"),
        ({"text": "A\\B"}, "a backslash"),
        ({"text": "A2026-999"}, "No study with the accession number or patient ID"),
        ({"text": "A2026-004", "caller": "CT99"}, "No study meets all criteria"),
        ({"description": "kidney"}, "No study meets all criteria"),
    ],
)
def test_a_search_says_why_nothing_is_known(
    client: TestClient, rows: sa.Engine, typed: dict[str, str], expected: str
) -> None:
    with rows.begin() as connection:
        connection.execute(
            sa.insert(schema.forgotten).values(uid="1.2.826.0.1.500", accession="", at=1e9)
        )
    status, text = send(client, "/search", **typed)
    assert status == 200
    assert expected in text


@pytest.mark.parametrize("state", list(State))
def test_the_page_of_a_job_is_complete_in_every_state(
    client: TestClient, rows: sa.Engine, state: State
) -> None:
    for job in queue.list_jobs(rows, state=state):
        answer = client.get(f"/jobs/{job.id}")
        assert answer.status_code == 200, answer.text
        assert f"/studies/{job.arrival_id}" in answer.text
        if job.target and state is State.DONE:
            assert "send the SEG to" in answer.text
            assert "A query confirmed that it has the object" in answer.text


def test_the_history_of_a_study_states_each_volume_once(client: TestClient) -> None:
    text = client.get("/studies/3").text
    assert text.count("5.96") == 1
    assert "3 segments; " in text


def test_a_token_with_other_letters_is_refused(client: TestClient) -> None:
    client.get("/search")
    wrong = {"token": "\u0661" * 64, "text": "A2026-004"}
    answer = client.post("/search", data=wrong, headers={"Origin": ORIGIN})
    assert answer.status_code == 403
    assert "expired" in answer.text


def test_health_needs_no_database(config: Config) -> None:
    config.data.dir.mkdir(parents=True)
    (config.data.dir / schema.FILE_NAME).write_bytes(b"no database" * 1000)
    client = client_of(config)
    assert client.get("/healthz").text == "ok\n"
    assert client.get("/readyz").status_code == 503
    inbox = Inbox(config.data.dir / "inbox")
    inbox.recover(time.time())
    assert client.get("/readyz").status_code == 200
    inbox.release()


def test_a_database_that_cannot_be_read_is_a_condition(config: Config) -> None:
    config.data.dir.mkdir(parents=True)
    (config.data.dir / schema.FILE_NAME).write_bytes(b"no database" * 1000)
    client = client_of(config)
    answer = client.get("/")
    assert answer.status_code == 200
    assert ConditionCode.DATABASE_UNREADABLE.value in answer.text
    assert client.get("/jobs").status_code == 503


def test_reading_the_pages_changes_no_row(client: TestClient, rows: sa.Engine) -> None:
    before = queue.events_of(rows), queue.list_jobs(rows)
    for path in PATHS:
        client.get(path)
    assert (queue.events_of(rows), queue.list_jobs(rows)) == before
