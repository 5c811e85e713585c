"""Results to targets with TLS, and images from Orthanc with TLS: real peers on loopback."""

import json
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from node import queue, sender, upper_layer
from node.config import Config
from node.errors import (
    CertificateRefused,
    PeerUnreachable,
)
from node.states import State
from tests.support import processes
from tests.support.certificates import HOST, Party, days, pair
from tests.support.commanding import Run, configure
from tests.support.delivering import at, make_post, states
from tests.support.orthanc import Orthanc, free_port, needs_orthanc, started
from tests.support.peers import dcmtk_tool, environment, listening, needs_dcmtk, soon, write_slices
from tests.support.targets import scripted_target
from tests.support.tls_peers import echoed, refusal, target, with_tls

# pynetdicom leaves the socket of a rejected association to the garbage collector
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


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
        error = refusal(Config(targets={"pacs": at(port, "DCMTK")}))
    assert type(error) is PeerUnreachable, "DCMTK closes the connection"
    assert "targets.pacs.tls" in error.advice


def _answers(port: int) -> bool:
    try:
        socket.create_connection((HOST, port), 1).close()
    except OSError:
        return False
    return True


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_target_that_sends_session_tickets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: ssl.TLSVersion
) -> None:
    node, peer = pair(tmp_path / "tls", "PEER")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(peer.trust))
    context.load_cert_chain(peer.certificate, peer.key)
    context.minimum_version = context.maximum_version = version
    context.num_tickets = 4  # sent before the target has anything to say
    monkeypatch.setattr(upper_layer, "PDU_SECONDS", 240.0)  # the machine may be busy
    with scripted_target(tls=context) as target:
        post = with_tls(make_post(tmp_path, pacs=at(target.port, tls=True)), node)
        post.add("pacs")
        begun = time.monotonic()
        sender.run(post.config, once=True)
        assert states(post) == {"pacs": (State.DONE, "")}
        assert time.monotonic() - begun < upper_layer.PDU_SECONDS
        session = echoed(post.config).session
    assert session is not None
    assert session.version == version.name.replace("TLSv1_", "TLS 1.")


def test_a_target_whose_certificate_ends_soon_leaves_a_note(tmp_path: Path) -> None:
    node, peer = pair(tmp_path / "tls", "PACS")
    peer.renew(days(5))
    with target(tmp_path, peer) as port:
        post = with_tls(make_post(tmp_path, pacs=at(port, "SEGNODE", tls=True)), node)
        post.add("pacs")
        sender.run(post.config, once=True)
    (note,) = [note for note in queue.notes(post.engine) if note.event == "certificate-ends"]
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
            return {one["subject"]: one for one in json.loads(printed)}

        checks = findings()
        assert checks["port with TLS"]["ok"]
        assert checks["TLS, certificate of this node"]["ok"]
        shown = checks["target pacs"]["message"]
        assert "TLS 1.3, TLS_AES_256_GCM_SHA384, its certificate ends on" in shown
        assert not checks["target pacs"]["advice"]
        node.renew(days(20))
        peer.renew(days(20))
        checks = findings()
        for subject in ("TLS, certificate of this node", "target pacs"):
            assert checks[subject]["ok"], "a warning"
            assert checks[subject]["advice"]
        conditions = json.loads(run("status", "--config", tmp_path / "a.yaml", "--json")[1])
        assert "certificate-ends" in [one["code"] for one in conditions["conditions"]]
        node.renew(days(-1))
        checks = findings()
        assert not checks["TLS, certificate of this node"]["ok"]
        assert not checks["target pacs"]["ok"]
        node.renew()
        node.key.chmod(0o644)
        checks = findings()
        assert "chmod 600" in checks["TLS files"]["advice"]
        assert not checks["target pacs"]["ok"]
        for loop in ("listener", "sender"):
            file = tmp_path / "a.yaml"
            assert run("serve", "--only", loop, "--config", file)[0] == 78, "it does not start"
