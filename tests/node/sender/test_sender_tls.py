"""Connections to targets with TLS: each failure has its code, and certificates are bound."""

import socket
import ssl
import threading
from pathlib import Path

import pytest

from node.config import CertificateName, Config
from node.errors import (
    CertificateExpired,
    CertificateRefused,
    NodeError,
    NoTls,
    TlsFailed,
    TlsRequired,
    UnknownAuthority,
    WrongCertificate,
)
from node.tls import Credentials
from tests.support.certificates import HOST, days, pair
from tests.support.delivering import at
from tests.support.peers import listening
from tests.support.stalling import stalling_target
from tests.support.tls_peers import echoed, refusal, sending, target


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
        error = refusal(sending(node, port, certificate=CertificateName("PACS2")))
        assert type(error) is WrongCertificate
        assert error.advice.endswith(Credentials(peer.config()).fingerprint)
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


def test_a_tls_alert_to_dicom_without_tls_is_named() -> None:
    alert = b"\x15\x03\x03\x00\x02\x02\x46"  # protocol_version
    with stalling_target(lambda _: None, lambda connection: connection.sendall(alert)) as port:
        error = refusal(Config(targets={"pacs": at(port)}))
    assert type(error) is TlsRequired
