"""A page over a database with a few weeks of rows."""

import re
import shutil
import time
from pathlib import Path

import pytest
import sqlalchemy as sa
from starlette.testclient import TestClient

from node import schema
from node.conditions import LiveView
from node.config import Config
from node.web import make_app
from tests.support.pages import fill, page_config

ORIGIN = "http://127.0.0.1:8080"


@pytest.fixture(scope="session")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a data folder; a copy of it is far faster than its transactions."""
    folder = tmp_path_factory.mktemp("page") / "data"
    fill(page_config(folder), time.time()).dispose()
    return folder


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return page_config(tmp_path / "data")


@pytest.fixture
def rows(config: Config, filled: Path) -> sa.Engine:
    shutil.copytree(filled, config.data.dir)
    return schema.open_configured(config.data)


@pytest.fixture
def client(config: Config, rows: sa.Engine) -> TestClient:
    return client_of(config)


def client_of(config: Config) -> TestClient:
    app = make_app(config, LiveView(config))
    return TestClient(app, base_url=ORIGIN, follow_redirects=False, client=("10.1.2.9", 50000))


def token_of(text: str) -> str:
    """Return the token of the form on a page."""
    token = re.search(r'name="token" value="([0-9a-f]+)"', text)
    assert token is not None
    return token[1]


def send(client: TestClient, path: str, **fields: str) -> "tuple[int, str]":
    """Open a form, send it as a browser does, and return status and text or location."""
    token = token_of(client.get(path).text)
    answer = client.post(path, data={"token": token} | fields, headers={"Origin": ORIGIN})
    return answer.status_code, answer.headers.get("location", "") or answer.text
