"""The JSON of the page: it fits its OpenAPI document, and refuses in words."""

from typing import Any

import pytest
import sqlalchemy as sa
from starlette.testclient import TestClient

from node import queue
from node.config import Config
from node.web.guard import MOST_BODY_BYTES
from tests.node.web.conftest import ORIGIN, client_of
from tests.support.pages import page_config

Schema = dict[str, Any]
TYPES: dict[str, type | tuple[type, ...]] = {
    "object": dict, "array": list, "string": str, "integer": int, "number": (int, float),
    "boolean": bool, "null": type(None),
}  # fmt: skip
GETS = [
    ("/api/status", "/api/status"), ("/api/studies/3", "/api/studies/{id}"),
    ("/api/jobs", "/api/jobs"), ("/api/jobs?state=failed&kind=deliver", "/api/jobs"),
    ("/api/jobs/1", "/api/jobs/{id}"), ("/api/packages", "/api/packages"),
]  # fmt: skip


def problems(
    value: Any, schema: dict[str, Any], document: dict[str, Any], at: str = ""
) -> list[str]:
    """Return where a value does not fit a schema (JSON Schema 2020-12, the keywords in use)."""
    if "$ref" in schema:
        name = schema["$ref"].removeprefix("#/components/schemas/")
        return problems(value, document["components"]["schemas"][name], document, at)
    unknown = schema.keys() - {
        "type", "anyOf", "properties", "required", "additionalProperties", "items", "title",
        "description", "default",
    }  # fmt: skip
    assert not unknown, f"this test does not know {unknown}"
    if "anyOf" in schema:
        parts = [problems(value, one, document, at) for one in schema["anyOf"]]
        return [] if [] in parts else [f"{at}: fits nothing"]
    kind = schema["type"]
    fits = isinstance(value, TYPES[kind]) and isinstance(value, bool) == (kind == "boolean")
    if not fits:
        return [f"{at}: {value!r} is no {kind}"]
    if kind == "array":
        parts = [
            problems(one, schema["items"], document, f"{at}/{n}") for n, one in enumerate(value)
        ]
        return [problem for part in parts for problem in part]
    return _of_object(value, schema, document, at) if kind == "object" else []


def _of_object(value: Schema, schema: Schema, document: Schema, at: str) -> list[str]:
    fields = schema.get("properties", {})
    others = schema.get("additionalProperties", True)
    absent = [name for name in schema.get("required", ()) if name not in value]
    wrong = [f"{at}: {name} is absent" for name in absent]
    for name, item in value.items():
        if name in fields or isinstance(others, dict):
            wrong += problems(item, fields.get(name, others), document, f"{at}/{name}")
        elif not others:
            wrong.append(f"{at}: {name} is unknown")
    return wrong


def schema_of(document: dict[str, Any], path: str, method: str, status: str) -> dict[str, Any]:
    content = document["paths"][path][method]["responses"][status]["content"]
    schema: dict[str, Any] = content["application/json"]["schema"]
    return schema


@pytest.fixture
def document(client: TestClient) -> dict[str, Any]:
    answer: dict[str, Any] = client.get("/openapi.json").json()
    return answer


def test_the_document_lists_every_endpoint(document: dict[str, Any]) -> None:
    assert document["openapi"] == "3.1.0"
    assert {"title", "version"} <= document["info"].keys()
    listed = {(path, method) for path, item in document["paths"].items() for method in item}
    assert ("/api/studies", "post") in listed
    assert {path for _, path in GETS} | {"/api/studies"} == document["paths"].keys()
    names = [item[m]["operationId"] for item in document["paths"].values() for m in item]
    assert len(set(names)) == len(names)
    assert all(item[m]["summary"] for item in document["paths"].values() for m in item)


@pytest.mark.parametrize(("url", "path"), GETS)
def test_an_answer_fits_the_document(
    client: TestClient, document: dict[str, Any], url: str, path: str
) -> None:
    answer = client.get(url)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-store"
    assert problems(answer.json(), schema_of(document, path, "get", "200"), document) == []


def test_the_check_of_this_test_finds_what_is_wrong(document: dict[str, Any]) -> None:
    schema = {"$ref": "#/components/schemas/Loop"}
    right = {"name": "sender", "is_running": True, "last_seen_s": None}
    assert problems(right, schema, document) == []
    mistakes: list[Any] = [
        right | {"name": 1}, right | {"is_running": 1}, right | {"last_seen_s": "x"},
        right | {"more": 1}, {"name": "sender"}, [],
    ]  # fmt: skip
    for wrong in mistakes:
        assert problems(wrong, schema, document), wrong


def test_a_study_is_found_by_its_accession_number(
    client: TestClient, document: dict[str, Any]
) -> None:
    answer = client.post("/api/studies", json={"text": "A2026-003"})
    assert answer.status_code == 200, answer.text
    schema = schema_of(document, "/api/studies", "post", "200")
    assert problems(answer.json(), schema, document) == []
    (study,) = answer.json()["studies"]
    found = client.get(f"/api/studies/{study['id']}").json()
    assert found["study_uid"] == study["study_uid"] == "1.2.826.0.1.3"
    (series,) = found["series"]
    assert series["volumes_ml"]["Left hippocampus"] == 5.958
    assert [(one["code"], one["structures"]) for one in series["caveats"]] == [
        ("cut", ["Brain stem"]),
        ("derived", []),
    ]


def test_an_unknown_study_has_its_reason(client: TestClient) -> None:
    answer = client.post("/api/studies", json={"text": "1.2.3.4.99"}).json()
    assert answer["studies"] == []
    assert "was never received" in answer["unknown"]


def test_all_studies_are_listed_page_by_page(client: TestClient, rows: sa.Engine) -> None:
    answer = client.post("/api/studies", json={}).json()
    assert len(answer["studies"]) == 8
    assert answer["next"] is None
    assert len(client.get("/api/jobs").json()["jobs"]) == len(queue.list_jobs(rows))


@pytest.mark.parametrize(
    ("method", "path", "sent", "status"),
    [
        ("GET", "/api/nothing", {}, 404), ("GET", "/api/studies/999", {}, 404),
        ("GET", "/api/studies", {}, 405), ("GET", "/api/jobs?state=happy", {}, 400),
        ("POST", "/api/status", {"json": {}}, 405), ("DELETE", "/api/jobs/1", {}, 405),
        ("POST", "/api/studies", {"content": b"{"}, 415),
        ("POST", "/api/studies", {"json": {"texts": "x"}}, 400),
        ("POST", "/api/studies", {"json": {"text": 1}}, 400),
        ("POST", "/api/studies", {"json": []}, 400),
        ("POST", "/api/studies", {"json": {"study_from": "yesterday"}}, 400),
        ("POST", "/api/studies", {"json": {"text": "x" * MOST_BODY_BYTES}}, 413),
        ("POST", "/api/studies", {"json": {"after": "x"}}, 404),
        ("POST", "/api/studies", {"json": {}, "headers": {"Origin": "https://evil.example"}}, 403),
    ],
)  # fmt: skip
def test_a_wrong_request_is_refused_in_words(
    client: TestClient, document: dict[str, Any], method: str, path: str, sent: dict[str, Any],
    status: int,
) -> None:  # fmt: skip
    answer = client.request(method, path, **sent)
    assert answer.status_code == status, answer.text
    refusal = answer.json()
    assert problems(refusal, {"$ref": "#/components/schemas/Refusal"}, document) == []
    assert refusal["status"] == status
    assert refusal["text"]
    assert "Internal error" not in refusal["text"]


def test_a_search_from_the_page_itself_is_answered(client: TestClient) -> None:
    answer = client.post("/api/studies", json={}, headers={"Origin": ORIGIN})
    assert answer.status_code == 200


def test_the_json_needs_the_same_login(config: Config, rows: sa.Engine, tmp_path: Any) -> None:
    guarded = page_config(
        config.data.dir, host="0.0.0.0", user_header="X-Remote-User", proxies=("10.1.2.9",)
    )
    for path in ("/api/status", "/openapi.json"):
        assert client_of(guarded).get(path).status_code == 403
        named = {"X-Remote-User": "anna"}
        assert client_of(guarded).get(path, headers=named).status_code == 200


def test_a_database_that_cannot_be_read_is_a_condition(config: Config) -> None:
    config.data.dir.mkdir(parents=True)
    (config.data.dir / "segnode.sqlite").write_bytes(b"no database" * 1000)
    status = client_of(config).get("/api/status").json()
    assert [one["code"] for one in status["conditions"]] == ["database-unreadable"]
    assert status["is_accepting"] is None
    refusal = client_of(config).get("/api/jobs").json()
    assert refusal["status"] == 503
