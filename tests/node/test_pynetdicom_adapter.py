"""The installed pynetdicom has the private names that the node builds on, as it knows them."""

import inspect
import re
import socket
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest
from pynetdicom import AE, _config
from pynetdicom.timer import Timer

from node import message_limits, upper_layer
from node import pynetdicom_adapter as adapter
from node.listener import association, server, upper
from node.pynetdicom_adapter import OVERRIDDEN, PRIVATE_ATTRIBUTES
from node.sender import peer

ROOT = Path(__file__).parents[2]
OURS: dict[type, tuple[type, ...]] = {
    adapter.ApplicationEntity: (peer._CallingAE,),
    adapter.Association: (association.StoreAssociation,),
    adapter.AssociationSocket: (upper.Wire, upper_layer.LimitedSocket),
    adapter.DIMSEServiceProvider: (upper.Messages, message_limits.LimitedMessages),
    adapter.DULServiceProvider: (upper.Upper, message_limits.LimitedUpper),
    adapter.RequestHandler: (server._Connection,),
    adapter.ThreadedAssociationServer: (server.Server,),
}
NAMES = [(base, name) for base, methods in OVERRIDDEN.items() for name in methods]


@pytest.mark.parametrize(("base", "name"), NAMES)
def test_an_overridden_name_exists_with_its_signature(base: type, name: str) -> None:
    parameters = OVERRIDDEN[base][name]
    member = inspect.getattr_static(base, name)
    if parameters is None:
        assert isinstance(member, property)
    else:
        assert tuple(inspect.signature(member).parameters) == ("self", *parameters)


@pytest.mark.parametrize("base", OURS)
def test_every_override_is_in_the_table(base: type) -> None:
    ignored = {
        "__doc__",
        "__module__",
        "__annotations__",
        "__firstlineno__",
        "__static_attributes__",
    }
    ours = {name for kind in OURS[base] for name in vars(kind) if hasattr(base, name)} - ignored
    ours -= {"__init__"} if base is adapter.ApplicationEntity else set()
    ours -= {"daemon_threads", "request_queue_size"}  # public settings of socketserver
    assert ours == set(OVERRIDDEN[base])


@pytest.fixture
def instances() -> Iterator[dict[type, object]]:
    ae = AE()
    ae.add_supported_context("1.2.840.10008.1.1")
    listening = adapter.ThreadedAssociationServer(
        ae, ("127.0.0.1", 0), "X", ae.supported_contexts, request_handler=adapter.RequestHandler
    )
    accepted = adapter.Association(ae, "acceptor")
    connection, other = socket.socketpair()
    wire = adapter.AssociationSocket(accepted, client_socket=connection)
    yield {
        adapter.Association: accepted,
        adapter.AssociationSocket: wire,
        adapter.DIMSEServiceProvider: accepted.dimse,
        adapter.DULServiceProvider: accepted.dul,
        adapter.ThreadedAssociationServer: listening,
    }
    connection.close()
    other.close()
    listening.server_close()


def test_private_attributes_exist(instances: dict[type, object]) -> None:
    for base, names in PRIVATE_ATTRIBUTES.items():
        for name in names:
            assert hasattr(instances[base], name), f"{base.__name__}.{name}"


def test_the_switches_exist() -> None:
    assert hasattr(_config, "STORE_SEND_CHUNKED_DATASET")
    assert hasattr(_config, "LOG_HANDLER_LEVEL")


def test_the_installed_version_is_the_pinned_one() -> None:
    pinned = re.search(r'"pynetdicom==([^"]+)"', (ROOT / "pyproject.toml").read_text("utf-8"))
    assert pinned is not None
    assert version("pynetdicom") == pinned[1]


@pytest.mark.parametrize("step_s", [3600.0, -3600.0, 86400.0, -86400.0])
def test_the_timers_of_associations_ignore_the_wall_clock(
    monkeypatch: pytest.MonkeyPatch, step_s: float
) -> None:
    timer = Timer(300)
    timer.start()
    now = time.time() + step_s
    monkeypatch.setattr(time, "time", lambda: now)
    assert 290 < timer.remaining <= 300
    assert not timer.expired
