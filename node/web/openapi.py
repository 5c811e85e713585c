"""The OpenAPI 3.1 document of the page's JSON, generated from the structs of the answers."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

import node
from node.web import answer_structs as answers
from node.web import api

REF = "#/components/schemas/{name}"
_ID = {"name": "id", "in": "path", "required": True, "schema": {"type": "integer", "minimum": 1}}


def _query(name: str, text: str, values: list[str] | None = None) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string"} | ({"enum": values} if values else {})
    return {"name": name, "in": "query", "description": text, "schema": schema}


@dataclass(frozen=True)
class Operation:
    """One endpoint."""

    path: str
    serve: Callable[[Request], Response]
    answer: type
    method: str = "get"
    body: type | None = None
    parameters: list[dict[str, Any]] = field(default_factory=list)


OPERATIONS = (
    Operation("/api/status", api.node_status, answers.NodeStatus),
    Operation(
        "/api/studies", api.search_studies, answers.StudyList, "post", answers.StudyCriteria
    ),
    Operation("/api/studies/{id}", api.one_study, answers.StudyResult, parameters=[_ID]),
    Operation(
        "/api/jobs", api.list_jobs, answers.JobList,
        parameters=[
            _query("state", "only jobs in this state", api.STATES),
            _query("kind", "only jobs of this kind", api.KINDS),
            _query("target", "only jobs for this target"),
            _query("after", "`next` of the previous answer"),
        ],
    ),
    Operation("/api/jobs/{id}", api.one_job, answers.JobSummary, parameters=[_ID]),
    Operation("/api/packages", api.list_packages, answers.PackageList),
)  # fmt: skip


def routes() -> list[Route]:
    """Return the routes of the endpoints and of the document."""
    listed = [Route(one.path, one.serve, methods=[one.method.upper()]) for one in OPERATIONS]
    return [*listed, Route("/openapi.json", _served)]


def _served(_: Request) -> Response:
    return api.as_json(document())


@cache
def document() -> dict[str, Any]:
    """Return the document."""
    types = [answers.Refusal, *(one.answer for one in OPERATIONS)]
    types += [one.body for one in OPERATIONS if one.body is not None]
    _, components = msgspec.json.schema_components(types, ref_template=REF)
    paths: dict[str, dict[str, Any]] = {}
    for one in OPERATIONS:
        paths.setdefault(one.path, {})[one.method] = _described(one)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "segnode",
            "version": node.__version__,
            "description": "What the page shows, as JSON. Times are Unix seconds. Results are "
            "made by AI, for research only, and not for diagnosis.",
        },
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"basic": {"type": "http", "scheme": "basic"}},
        },
        "security": [{}, {"basic": []}],
    }


def _described(one: Operation) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": one.serve.__name__,
        "summary": (one.serve.__doc__ or "").strip(),
        "responses": {"200": _content("The answer.", one.answer)},
    }
    described["responses"]["default"] = _content("Why there is none.", answers.Refusal)
    if one.parameters:
        described["parameters"] = one.parameters
    if one.body is not None:
        described["requestBody"] = {"required": True} | _content("", one.body)
        del described["requestBody"]["description"]
    return described


def _content(text: str, kind: type) -> dict[str, Any]:
    reference = {"$ref": REF.format(name=kind.__name__)}
    return {"description": text, "content": {api.JSON: {"schema": reference}}}
