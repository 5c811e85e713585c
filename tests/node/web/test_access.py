"""Who may see the page: people on this machine, users with a password, or a proxy's users."""

import base64
import shutil
import stat
from pathlib import Path

import pytest
import sqlalchemy as sa

from node import queue, schema
from node.config import Config
from node.errors import Misconfigured
from node.states import State
from node.web import users
from tests.node.web.conftest import client_of, send
from tests.support.commanding import Run, configure
from tests.support.pages import page_config

PASSWORD = "correct horse 1"


@pytest.fixture(autouse=True)
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(users, "COST", 1 << 4)


def basic(name: str, password: str) -> dict[str, str]:
    encoded = base64.b64encode(f"{name}:{password}".encode()).decode()
    return {"Authorization": f"Basic {encoded}"}


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8080", "", "127.0.0.1.evil.example"]
)
def test_a_page_without_users_answers_to_its_own_names_only(
    config: Config, rows: sa.Engine, host: str
) -> None:
    """Otherwise a site could lead its own name to this machine, and read the page."""
    client = client_of(config)
    assert client.get("/", headers={"Host": host}).status_code == 421
    for own in ("localhost:9", "127.0.0.1", "[::1]:8080"):
        assert client.get("/", headers={"Host": own}).status_code == 200


def test_users_log_in_with_their_password(tmp_path: Path, filled: Path) -> None:
    file = tmp_path / "page-users"
    users.set_password(file, "anna", PASSWORD)
    config = page_config(tmp_path / "data", users=file)
    shutil.copytree(filled, config.data.dir)
    rows = schema.open_configured(config.data)
    client = client_of(config)
    answer = client.get("/")
    assert (answer.status_code, answer.headers["www-authenticate"][:5]) == (401, "Basic")
    assert "Queue" not in answer.text
    for name, password in (("anna", "wrong"), ("bert", PASSWORD), ("", ""), ("anna", "")):
        assert client.get("/", headers=basic(name, password)).status_code == 401
    for header in ("Basic !", "Basic", "Bearer x", "Basic " + base64.b64encode(b"\xff").decode()):
        assert client.get("/", headers={"Authorization": header}).status_code == 401
    client.headers |= basic("anna", PASSWORD)
    for _ in range(2):
        assert client.get("/").status_code == 200
    job = queue.list_jobs(rows, state=State.FAILED)[0]
    assert send(client, f"/jobs/{job.id}/retry")[0] == 303
    assert queue.events_of(rows, job_id=job.id)[-1].actor == "page:anna"
    assert client.get("/healthz", headers={"Authorization": ""}).status_code == 200
    users.remove_user(file, "anna")
    assert client.get("/").status_code == 401, "a changed file counts at once"


def test_many_wrong_passwords_are_refused_for_a_while(tmp_path: Path) -> None:
    file = tmp_path / "page-users"
    users.set_password(file, "anna", PASSWORD)
    client = client_of(page_config(tmp_path / "data", users=file))
    statuses = [client.get("/", headers=basic("anna", str(n))).status_code for n in range(11)]
    assert statuses == [401] * 10 + [429]
    assert client.get("/", headers=basic("anna", PASSWORD)).status_code == 429


@pytest.mark.parametrize(
    ("proxy", "name", "status"),
    [
        ("10.1.2.9", "anna@hospital.org", 200),
        ("10.1.2.9", "", 403),
        ("10.1.2.9", "<b>", 403),
        ("10.1.2.8", "anna", 403),
    ],
)
def test_a_proxy_names_the_user(tmp_path: Path, proxy: str, name: str, status: int) -> None:
    config = page_config(
        tmp_path / "data", host="0.0.0.0", user_header="X-Remote-User", proxies=(proxy,)
    )
    client = client_of(config)
    assert client.get("/", headers={"X-Remote-User": name}).status_code == status
    assert client.get("/readyz").status_code == 503


def test_the_file_of_users_holds_no_password_and_is_not_public(tmp_path: Path) -> None:
    file = tmp_path / "page-users"
    users.set_password(file, "anna", PASSWORD)
    users.set_password(file, "bert", PASSWORD)
    assert PASSWORD not in file.read_text()
    first, second = (line.partition(":")[2] for line in file.read_text().splitlines())
    assert first != second, "each has a salt"
    assert not stat.S_IMODE(file.stat().st_mode) & stat.S_IRWXO


@pytest.mark.parametrize("content", [b"anna:secret\n", b"anna\n", b"\xff\n", b"a b:scrypt:a:b\n"])
def test_a_damaged_file_of_users_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "page-users"
    file.write_bytes(content)
    with pytest.raises(Misconfigured):
        users.read_users(file)
    with pytest.raises(Misconfigured):
        users.read_users(tmp_path / "absent")


def test_the_command_sets_and_removes_a_password(
    run: Run, tmp_path: Path, tiny_models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = configure(tmp_path / "node.yaml", tiny_models)
    assert run("user", "anna", "--config", config)[0] == 78, "no file is named"
    configure(config, tiny_models, page={"users": "page-users"})
    for password, status in (("short", 78), (PASSWORD, 0)):
        (tmp_path / "typed").write_text(f"{password}\n")
        with (tmp_path / "typed").open() as typed:
            monkeypatch.setattr("sys.stdin", typed)
            assert run("user", "anna", "--config", config)[0] == status
    assert users.read_users(tmp_path / "page-users").keys() == {"anna"}
    assert run("user", "bert", "--remove", "--config", config)[0] == 78
    assert run("user", "anna", "--remove", "--config", config)[0] == 0
    assert users.read_users(tmp_path / "page-users") == {}
