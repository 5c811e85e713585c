"""A node that sends with TLS to one target, and what it reports about it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from node.config import Config
from node.errors import NodeError
from node.sender import Echo, echo, peer_of
from node.tls import Credentials
from tests.support.certificates import Party
from tests.support.delivering import PATIENT, Post, at
from tests.support.peers import listening


def sending(node: Party, port: int, ae: str = "SEGNODE", **target: Any) -> Config:
    """Return the configuration of a node that sends to one target."""
    target = {"tls": True, **target}
    return Config(tls=node.config(), targets={"pacs": at(port, ae, **target)})


def with_tls(post: Post, node: Party) -> Post:
    """Return the sender with the certificate of `node`."""
    return replace(post, config=msgspec.structs.replace(post.config, tls=node.config()))


def echoed(config: Config) -> Echo:
    credentials = Credentials(config.tls) if config.tls.is_on else None
    return echo(peer_of(config, "pacs", credentials, PATIENT))


def refusal(config: Config) -> NodeError:
    with pytest.raises(NodeError) as caught:
        echoed(config)
    assert "pacs (" in caught.value.message
    assert caught.value.advice
    return caught.value


@contextmanager
def target(folder: Path, peer: Party, **choices: Any) -> Iterator[int]:
    """Run a listener of this node as the target of another one; yield its port with TLS."""
    tls = peer.config(**choices)
    with listening(folder / "target", tls=tls):
        yield tls.port
