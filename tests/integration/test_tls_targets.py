"""Results to targets with TLS, and images from Orthanc with TLS: real peers on loopback."""

import json
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from node import queue, sender
from node.config import CertificateName, Config
from node.errors import (
    CertificateExpired,
    CertificateRefused,
    NodeError,
    NoTls,
    PeerUnreachable,
    TlsFailed,
    TlsRequired,
    UnknownAuthority,
    WrongCertificate,
)
from node.sender import Echo, echo, peer_of
from node.states import State
from node.tls import Credentials
from tests.support import processes
from tests.support.certificates import HOST, Party, days, pair
from tests.support.commanding import Run, configure
from tests.support.delivering import PATIENT, Post, at, make_post, states
from tests.support.orthanc import Orthanc, free_port, needs_orthanc, started
from tests.support.peers import dcmtk_tool, environment, listening, needs_dcmtk, soon, write_slices
from tests.support.stalling import stalling_target

# pynetdicom leaves the socket of a rejected association to the garbage collector
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


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


@contextmanager
def storescp(folder: Path, peer: Party, *options: str) -> Iterator[int]:
    """Run DCMTK's storescp with TLS; yield its port."""
    port, received = free_port(), folder / "received"
    received.mkdir()
    tool = str(dcmtk_tool("storescp"))
    command = [tool, "-aet", "DCMTK", "-od", str(received), *options, *peer.dcmtk(), str(port)]
    process = processes.start(command, env=environment(), stderr=subprocess.DEVNULL)
    try:
        yield port
    finally:
        processes.stop(process)


def orthanc_with_tls(peer: Party) -> dict[str, Any]:
    """Return Orthanc's options for TLS in both directions."""
    return {
        "DicomTlsEnabled": True,
        "DicomTlsCertificate": str(peer.certificate),
        "DicomTlsPrivateKey": str(peer.key),
        "DicomTlsTrustedCertificates": str(peer.trust),
    }


@needs_orthanc
@pytest.mark.orthanc
def test_orthanc_stores_and_confirms_with_tls(tmp_path: Path) -> None:
    node, peer = pair(tmp_path / "tls", "PACS")
    with started(Orthanc(tmp_path / "orthanc"), **orthanc_with_tls(peer)) as pacs:
        post = make_post(tmp_path, pacs=at(pacs.dicom_port, pacs.ae, tls=True))
        post = with_tls(post, node)
        post.add("pacs")
        sender.run(post.config, once=True)
        assert states(post) == {"pacs": (State.DONE, "")}
        assert len(pacs.get("/instances")) == 1
        session = echoed(post.config).session
        assert session is not None
        assert session.version in ("TLS 1.2", "TLS 1.3")
        assert session.certificate.names[0] == "PACS"
        # without a certificate that Orthanc trusts, nothing gets through
        stranger = Party(tmp_path / "tls", "other").trusts(peer)
        assert type(refusal(with_tls(post, stranger).config)) is CertificateRefused


@needs_orthanc
@pytest.mark.orthanc
def test_orthanc_sends_with_tls(tmp_path: Path) -> None:
    node, peer = pair(tmp_path / "tls", "PACS")
    tls = node.config()
    modality = {"AET": "SEGNODE", "Host": HOST, "Port": tls.port, "UseDicomTls": True}
    options = orthanc_with_tls(peer) | {"DicomModalities": {"node": modality}}
    files = write_slices(tmp_path / "slices", 3)
    with (
        listening(tmp_path / "data", tls=tls) as running,
        started(Orthanc(tmp_path / "orthanc"), **options) as pacs,
    ):
        keys = [pacs.post("/instances", Path(file).read_bytes())["ID"] for file in files]
        pacs.post("/modalities/node/store", {"Resources": keys})
        assert soon(lambda: len(running.instances()) == 3)
        assert running.inbox.read_notes() == []


@needs_dcmtk
@pytest.mark.dcmtk
@pytest.mark.parametrize("profile", ["+py", "+pz"])
def test_storescp_receives_with_tls(tmp_path: Path, profile: str) -> None:
    node, peer = pair(tmp_path / "tls", "DCMTK")
    with storescp(tmp_path, peer, profile, "+xa") as port:
        post = make_post(tmp_path, pacs=at(port, "DCMTK", tls=True, confirm="none"))
        post = with_tls(post, node)
        post.add("pacs")
        assert soon(lambda: _answers(port))
        sender.run(post.config, once=True)
        assert states(post) == {"pacs": (State.DONE, "")}
        assert len(list((tmp_path / "received").iterdir())) == 1


@needs_dcmtk
@pytest.mark.dcmtk
def test_a_target_that_expects_tls_is_named(tmp_path: Path) -> None:
    _, peer = pair(tmp_path / "tls", "DCMTK")
    with storescp(tmp_path, peer) as port:
        assert soon(lambda: _answers(port))
        found = refusal(Config(targets={"pacs": at(port, "DCMTK")}))
    assert type(found) is PeerUnreachable, "DCMTK closes the connection"
    assert "targets.pacs.tls" in found.advice


def test_a_tls_alert_to_dicom_without_tls_is_named() -> None:
    alert = b"\x15\x03\x03\x00\x02\x02\x46"  # protocol_version
    with stalling_target(lambda _: None, lambda connection: connection.sendall(alert)) as port:
        found = refusal(Config(targets={"pacs": at(port)}))
    assert type(found) is TlsRequired


def _answers(port: int) -> bool:
    try:
        socket.create_connection((HOST, port), 1).close()
    except OSError:
        return False
    return True


def test_a_target_with_tls_is_described(tmp_path: Path) -> None:
    node, peer = pair(tmp_path, "PACS")
    with target(tmp_path, peer) as port:
        session = echoed(sending(node, port)).session
    assert session is not None
    assert str(session) == "TLS 1.3, TLS_AES_256_GCM_SHA384"


@pytest.mark.parametrize(
    ("trouble", "kind"),
    [
        ("unknown", UnknownAuthority),
        ("expired", CertificateExpired),
        ("early", CertificateExpired),
        ("other host", WrongCertificate),
        ("refused", CertificateRefused),
        ("no tls", NoTls),
    ],
)
def test_each_failure_has_its_code(tmp_path: Path, trouble: str, kind: type[NodeError]) -> None:
    node, peer = pair(tmp_path, "PACS")
    if trouble == "unknown":
        node.trusts(node)
    elif trouble == "expired":
        peer.renew(days(-1))
    elif trouble == "early":
        peer.renew(days(20), days(10))
    elif trouble == "other host":
        peer.renew(names=("pacs.hospital",))
    elif trouble == "refused":
        peer.trusts(peer)
    tls = peer.config()
    with listening(tmp_path / "target", tls=tls) as running:
        port = running.port if trouble == "no tls" else tls.port
        assert type(refusal(sending(node, port))) is kind


@pytest.mark.parametrize("bound", ["pacs", "pacs.hospital", "fingerprint"])
def test_a_certificate_is_bound_to_a_target(tmp_path: Path, bound: str) -> None:
    node, peer = pair(tmp_path, "PACS")
    peer.renew(names=("pacs.hospital",))
    if bound == "fingerprint":
        bound = Credentials(peer.config()).fingerprint
    with target(tmp_path, peer) as port:
        named = CertificateName.parse(bound)
        assert echoed(sending(node, port, certificate=named)).answers_echo
        found = refusal(sending(node, port, certificate=CertificateName("PACS2")))
        assert type(found) is WrongCertificate
        assert found.advice.endswith(Credentials(peer.config()).fingerprint)
        node.renew()
        peer.renew(names=("other",))
        if named.is_fingerprint:
            assert type(refusal(sending(node, port, certificate=named))) is WrongCertificate


def test_nothing_in_common_has_its_code(tmp_path: Path) -> None:
    node, peer = pair(tmp_path, "PACS")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(peer.certificate, peer.key)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("ECDHE-ECDSA-AES256-SHA384")  # CBC
    server = socket.create_server((HOST, 0))

    def serve() -> None:
        connection = server.accept()[0]
        try:
            context.wrap_socket(connection, server_side=True)
        except OSError:
            connection.close()

    thread = threading.Thread(target=serve)
    thread.start()
    assert type(refusal(sending(node, server.getsockname()[1]))) is TlsFailed
    thread.join()
    server.close()


def test_a_target_whose_certificate_ends_soon_leaves_a_note(tmp_path: Path) -> None:
    node, peer = pair(tmp_path / "tls", "PACS")
    peer.renew(days(5))
    with target(tmp_path, peer) as port:
        post = with_tls(make_post(tmp_path, pacs=at(port, "SEGNODE", tls=True)), node)
        post.add("pacs")
        sender.run(post.config, once=True)
    (note,) = [note for note in queue.notes(post.engine) if note.what == "certificate-ends"]
    assert "pacs" in note.detail


def test_check_shows_tls_of_node_and_target(run: Run, tmp_path: Path) -> None:
    node, peer = pair(tmp_path / "tls", "PACS")
    tls = {"certificate": "tls/segnode.pem", "key": "tls/segnode.key", "trust": str(node.trust)}
    with target(tmp_path, peer) as port:
        pacs = {"ae": "SEGNODE", "host": HOST, "port": port, "tls": True}

        def findings() -> dict[str, Any]:
            sections = {"tls": tls | {"port": free_port()}, "targets": {"pacs": pacs}, "rules": []}
            file = configure(tmp_path / "a.yaml", tmp_path, **sections)
            printed = run("check", "--config", file, "--json")[1]
            return {one["what"]: one for one in json.loads(printed)}

        found = findings()
        assert found["port with TLS"]["ok"]
        assert found["TLS, certificate of this node"]["ok"]
        shown = found["target pacs"]["message"]
        assert "TLS 1.3, TLS_AES_256_GCM_SHA384, its certificate ends on" in shown
        assert not found["target pacs"]["advice"]
        node.renew(days(20))
        peer.renew(days(20))
        found = findings()
        for what in ("TLS, certificate of this node", "target pacs"):
            assert found[what]["ok"], "a warning"
            assert found[what]["advice"]
        conditions = json.loads(run("status", "--config", tmp_path / "a.yaml", "--json")[1])
        assert "certificate-ends" in [one["code"] for one in conditions["conditions"]]
        node.renew(days(-1))
        found = findings()
        assert not found["TLS, certificate of this node"]["ok"]
        assert not found["target pacs"]["ok"]
        node.renew()
        node.key.chmod(0o644)
        found = findings()
        assert "chmod 600" in found["TLS files"]["advice"]
        assert not found["target pacs"]["ok"]
        for loop in ("listener", "sender"):
            file = tmp_path / "a.yaml"
            assert run("serve", "--only", loop, "--config", file)[0] == 78, "it does not start"
