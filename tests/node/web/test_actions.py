"""Actions of a person: confirmed, recorded with the name, and only from the page itself."""

import sqlalchemy as sa
from starlette.testclient import TestClient

from node import queue
from node.states import State
from tests.node.web.conftest import ORIGIN, send, token_of


def failed(rows: sa.Engine) -> queue.Job:
    return queue.list_jobs(rows, state=State.FAILED)[0]


def test_a_job_is_retried_after_a_question(client: TestClient, rows: sa.Engine) -> None:
    job = failed(rows)
    page = client.get(f"/jobs/{job.id}").text
    assert "Try again" in page
    assert "Cancel" not in page
    status, location = send(client, f"/jobs/{job.id}/retry")
    assert (status, location) == (303, f"/jobs/{job.id}")
    assert queue.get(rows, job.id).state is State.QUEUED
    event = queue.events_of(rows, job_id=job.id)[-1]
    assert (event.event, event.actor) == ("requeue", "page")


def test_a_job_is_cancelled(client: TestClient, rows: sa.Engine) -> None:
    job = queue.list_jobs(rows, state=State.QUEUED)[0]
    assert send(client, f"/jobs/{job.id}/cancel")[0] == 303
    assert queue.get(rows, job.id).state is State.CANCELLED


def test_an_action_that_is_not_possible_changes_nothing(
    client: TestClient, rows: sa.Engine
) -> None:
    status, text = send(client, "/jobs/1/retry")
    assert status == 409
    assert "a job that is done cannot requeue" in text
    status, text = send(client, "/jobs/1/resend")
    assert status == 409
    assert "images are no longer in the inbox" in text
    status, text = send(client, "/studies/3/replan", use="last")
    assert status == 409
    assert "no image of" in text
    assert send(client, "/studies/3/replan", use="best")[0] == 400
    assert queue.get(rows, 1).state is State.DONE


def test_a_form_of_another_site_changes_nothing(client: TestClient, rows: sa.Engine) -> None:
    path = f"/jobs/{failed(rows).id}/retry"
    token = token_of(client.get(path).text)
    wrong = [
        ({"Origin": "https://evil.example"}, token),
        ({"Origin": "null"}, token),
        ({}, token),
        ({"Origin": ORIGIN, "Sec-Fetch-Site": "cross-site"}, token),
        ({"Origin": ORIGIN}, ""),
        ({"Origin": ORIGIN}, "0" * 64),
        ({"Origin": ORIGIN, "Cookie": "segnode_form=x"}, token),
        ({"Origin": ORIGIN, "Cookie": "segnode_form=" + "0" * 64}, token),
    ]
    for headers, sent in wrong:
        if "Cookie" in headers:
            client.cookies.clear()
        answer = client.post(path, data={"token": sent}, headers=headers)
        assert answer.status_code == 403, headers
        assert "nothing was changed" in answer.text
    assert failed(rows).state is State.FAILED


def test_the_cookie_of_forms_is_strict(client: TestClient) -> None:
    cookie = client.get("/").headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert "set-cookie" not in client.get("/").headers, "it is kept"


def test_a_rule_is_paused_and_resumed(client: TestClient, rows: sa.Engine) -> None:
    assert "Pause …" in client.get("/rules").text
    assert send(client, "/rules/whole-head/pause", because="new <scanner>") == (303, "/rules")
    assert queue.paused(rows)["whole-head"].because == "new <scanner>"
    shown = client.get("/rules").text
    assert "new &lt;scanner&gt;" in shown
    assert "Resume …" in shown
    assert "rule-paused: whole-head" in client.get("/").text, "the overview is not an old one"
    status, text = send(client, "/rules/whole-head/pause")
    assert (status, "is paused already" in text) == (409, True)
    assert send(client, "/rules/whole-head/resume") == (303, "/rules")
    assert not queue.paused(rows)
    status, text = send(client, "/rules/whole-head/resume")
    assert (status, "is not paused" in text) == (409, True)
    acts = [(one.event, one.actor) for one in queue.history_between(rows) if one.actor == "page"]
    assert acts == [("pause-rule", "page"), ("resume-rule", "page")]


def test_a_pause_that_cannot_be_is_refused_in_words(client: TestClient, rows: sa.Engine) -> None:
    assert client.get("/rules/none-such/pause").status_code == 409
    assert "Rules: whole-head" in client.get("/rules/none-such/pause").text
    assert client.get("/rules/whole-head/stop").status_code == 404
    assert send(client, "/rules/whole-head/pause", because="x" * 201)[0] == 400
    assert send(client, "/rules/whole-head/pause", because="two\nlines")[0] == 400
    assert not queue.paused(rows)
