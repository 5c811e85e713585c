"""Audit messages over a real socket: framed, in order, again after an outage, never too many."""

import logging
import re
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import msgspec
import pytest
import sqlalchemy as sa

from node import queue, schema
from node.audit import Auditor, announce_stop
from node.audit import send as sending
from node.audit.send import PLACE, Place
from node.audit.syslog import BOM, AuditNotSent
from node.config import AuditConfig, Config, DataConfig, PageConfig, SyslogConfig, load_text
from node.errors import Misconfigured
from node.identifiers import Identifiers
from node.queue import StudyIndex
from tests.node.audit.test_audit_messages import checked, coded, ids
from tests.support.certificates import Party
from tests.support.orthanc import free_port
from tests.support.rows import T0, a_segment_job, an_arrival
from tests.support.running import wait_until
from tests.support.syslogs import HOST, SyslogServer, syslog_server

HEADER = re.compile(
    rb"<85>1 \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z [!-~]+ segnode \d+ DICOM\+RFC3881 - "
)


def config_of(folder: Path, **syslog: object) -> Config:
    return Config(
        data=DataConfig(dir=folder),
        page=PageConfig(enabled=False),
        audit=AuditConfig(syslog=SyslogConfig(host=HOST, **syslog)),  # type: ignore[arg-type]
    )


def record(engine: sa.Engine, number: int, patient_id: str = "") -> None:
    index = StudyIndex(
        kept_as="hashed", accession="", patient_id=patient_id, study_date="", description="",
        words=(),
    )  # fmt: skip
    arrival = an_arrival(number, study_uid=f"1.2.{number}")
    queue.record_arrival(engine, arrival, a_segment_job(number), T0 + number, index=index)


def send_new(config: Config, engine: sa.Engine, run: str = "a") -> None:
    """Send what is due, as one process that ends after it."""
    with closing(Auditor(config, lambda: engine, run=run)) as auditor:
        auditor.send_new(T0)


@contextmanager
def auditing(config: Config, engine: sa.Engine) -> Iterator[Auditor]:
    with closing(Auditor(config, lambda: engine, run="a")) as auditor:
        yield auditor


def codes(server: SyslogServer, count: int) -> list[str]:
    """Wait for messages, check each, and return their event codes."""
    wait_until(lambda: len(server.received) >= count)
    found = []
    for line in server.received:
        header = HEADER.match(line)
        assert header, line[:200]
        assert line[header.end() :].startswith(BOM)
        root = checked(line[header.end() + len(BOM) :])
        found.append(coded(root[0].find("EventID")))
    return found


@pytest.mark.parametrize("transport", ["udp", "tcp", "tls"])
def test_start_and_events_reach_the_server(tmp_path: Path, transport: str) -> None:
    party = Party(tmp_path / "tls", "syslog")
    trust = tmp_path / "trust.pem"
    trust.write_bytes(party.authority.cert_pem.bytes())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(party.certificate, party.key)
    with syslog_server(transport, context if transport == "tls" else None) as server:
        config = config_of(
            tmp_path / "data", port=server.port, transport=transport,
            trust=trust if transport == "tls" else None,
        )  # fmt: skip
        engine = schema.open_configured(config.data)
        record(engine, 1)
        with auditing(config, engine) as auditor:
            auditor.send_new(T0)  # what was recorded before is history, not news
            record(engine, 2, Identifiers("hashed", b"k" * 32).stored_form("P2"))
            auditor.send_new(T0 + 1)
            auditor.send_new(T0 + 2)
        assert codes(server, 2) == ["110100", "110104"]
        body = server.received[1].partition(BOM)[2]
        assert ids(checked(body))["110180"] == "1.2.2"
        assert re.fullmatch("[0-9a-f]{32}", ids(checked(body))["2"])
        assert b"P2" not in body


def test_a_restarted_monitor_goes_on_and_a_restarted_node_says_so(tmp_path: Path) -> None:
    with syslog_server("tcp") as server:
        config = config_of(tmp_path, port=server.port, transport="tcp")
        engine = schema.open_configured(config.data)
        send_new(config, engine)
        record(engine, 1)
        send_new(config, engine)
        assert codes(server, 2) == ["110100", "110104"]
        announce_stop(config, T0)
        send_new(config, engine, run="b")
        assert codes(server, 4)[2:] == ["110100", "110100"]


def test_an_outage_delays_and_loses_nothing(tmp_path: Path) -> None:
    port = free_port()
    config = config_of(tmp_path, port=port, transport="tcp")
    engine = schema.open_configured(config.data)
    with auditing(config, engine) as auditor:
        with pytest.raises(AuditNotSent, match="Connection refused") as caught:
            auditor.send_new(T0)
        assert caught.value.advice
        for number in range(1, 6):
            record(engine, number)
        with syslog_server("tcp", port=port) as server:
            auditor.send_new(T0)
            assert codes(server, 6) == ["110100"] + ["110104"] * 5
            server.hang_up()
            record(engine, 6)
            auditor.send_new(T0)
            wait_until(lambda: len(server.received) == 7)


def test_a_backlog_is_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sending, "MOST_BACKLOG", 3)
    with syslog_server("tcp") as server:
        config = config_of(tmp_path, port=server.port, transport="tcp")
        engine = schema.open_configured(config.data)
        send_new(config, engine)
        for number in range(1, 6):  # three events each
            record(engine, number)
        with caplog.at_level(logging.ERROR):
            send_new(config, engine)
        assert codes(server, 2) == ["110100", "110104"]
        assert "left out" in caplog.text
        place = msgspec.json.decode((tmp_path / PLACE).read_bytes(), type=Place)
        assert place.event == queue.newest_event(engine)


def test_a_server_that_does_not_answer_delays_no_other_thread(tmp_path: Path) -> None:
    with socket.create_server((HOST, 0)) as mute:
        config = config_of(tmp_path, port=mute.getsockname()[1], transport="tls")
        engine = schema.open_configured(config.data)
        stop = threading.Event()
        auditor = Auditor(config, lambda: engine, run="a")
        thread = threading.Thread(target=auditor.run, args=(stop,), daemon=True)
        thread.start()
        connection, _ = mute.accept()
        with connection:
            assert connection.recv(1), "its handshake began, and waits"
            record(engine, 1)
            assert queue.newest_event(engine) == 3
            assert thread.is_alive()
            stop.set()
        thread.join(240)
        assert not thread.is_alive()


def test_an_untrusted_server_receives_nothing(tmp_path: Path) -> None:
    party, other = Party(tmp_path / "a", "syslog"), Party(tmp_path / "b", "syslog")
    trust = tmp_path / "trust.pem"
    trust.write_bytes(other.authority.cert_pem.bytes())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(party.certificate, party.key)
    with syslog_server("tls", context) as server:
        config = config_of(tmp_path / "data", port=server.port, trust=trust)
        engine = schema.open_configured(config.data)
        with pytest.raises(AuditNotSent, match="does not take audit messages"):
            send_new(config, engine)
        assert server.received == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("audit: {syslog: {host: a, transport: tcp, trust: x.pem}}", "trust requires"),
        ("audit: {syslog: {host: 'a b'}}", "write a host name"),
        ("audit: {syslog: {port: 0}}", "port"),
        ("audit: {syslog: {transport: relp}}", "transport"),
        ("audit: {syslogs: {}}", "syslogs"),
    ],
)
def test_a_wrong_section_is_refused(text: str, expected: str) -> None:
    with pytest.raises(Misconfigured, match=expected):
        load_text(text)


def test_trust_is_relative_to_the_configuration(tmp_path: Path) -> None:
    config = load_text("audit: {syslog: {host: a, trust: x.pem}}", base=tmp_path)
    assert config.audit.syslog.trust == tmp_path / "x.pem"
    assert config.is_monitored
