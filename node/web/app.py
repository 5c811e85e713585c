"""The routes of the page."""

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.routing import Route
from starlette.types import ASGIApp

from node.conditions import LiveView
from node.config import Config
from node.errors import NodeError
from node.web import confirm, openapi, search, views
from node.web.access import Access
from node.web.answers import answer_to
from node.web.guard import Guard
from node.web.metrics import metrics
from node.web.refusals import Refused

BOTH = ["GET", "POST"]
# listed, because the framework logs an error that only `Exception` handles with its text
_ERRORS = (HTTPException, Refused, NodeError, Exception)
ROUTES = [
    Route("/", views.overview),
    Route("/healthz", views.health),
    Route("/readyz", views.readiness),
    Route("/page.css", views.style),
    Route("/metrics", metrics),
    Route("/studies", search.studies),
    Route("/search", search.search, methods=BOTH),
    Route("/studies/{id}", views.study),
    Route("/studies/{id}/preview.png", views.preview),
    Route("/studies/{id}/replan", confirm.study_replan, methods=BOTH),
    Route("/jobs", views.jobs),
    Route("/jobs/{id}", views.job),
    Route("/jobs/{id}/{action}", confirm.job_action, methods=BOTH),
    Route("/targets/{name}", views.target),
    Route("/rules", views.rules),
    Route("/rules/{name}/{action}", confirm.rule_action, methods=BOTH),
    Route("/packages", views.packages),
    *openapi.routes(),
]


def make_app(config: Config, live: LiveView) -> ASGIApp:
    """Return the page of a node.

    Raises:
        Misconfigured: the file of the users cannot be read.
    """
    app = Starlette(routes=ROUTES, exception_handlers=dict.fromkeys(_ERRORS, answer_to))
    app.state.config, app.state.live = config, live
    is_tls = config.page.certificate is not None
    return Guard(app, Access(config.page), is_tls=is_tls)
