"""The listener process: recover the inbox, then listen until it is stopped.

Stopping is the same as a kill, and starting includes recovery. `node.commands` handles signals and
logging.
"""

import functools
import logging
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from pynetdicom import AE, evt

from node.commitment import CallerRequests, ReceivedReports
from node.config import Config, RunningConfig
from node.dicom.uids import IMPLEMENTATION_UID, IMPLEMENTATION_VERSION
from node.errors import Misconfigured
from node.inbox import Inbox
from node.listener import handlers
from node.listener.callers import Slots, rejection
from node.listener.commitment import Commitments
from node.listener.handlers import Reception
from node.listener.pace import Pace
from node.listener.reports import Reports
from node.listener.server import Server
from node.listener.spool import Spool
from node.pynetdicom_adapter import switch_off_pdu_logs
from node.tls import Credentials

ANSWER_SECONDS = 10  # for a peer to request an association, and to close after its release
IDLE_SECONDS = 300  # some modalities keep an association open between two images
MAXIMUM_PDU_BYTES = 131072  # the largest that DCMTK sends
FLUSH_SECONDS = 1.0  # between two looks for counts that are to be reported
MOST_THREADS = 1 << 20  # pynetdicom counts connections; `Slots` counts associations

log = logging.getLogger("node.listener")


def run(
    config: Config,
    stop: threading.Event | None = None,
    ready: Callable[[int], None] | None = None,
    running: RunningConfig | None = None,
) -> None:
    """Receive until `stop` is set; call `ready` with the port when connections are accepted.

    The port without TLS, unless it is switched off. `running` follows what is accepted later:
    callers and limits change for the next association, and open ones go on.

    Raises:
        Misconfigured: a port is taken, another listener uses the same inbox, or a file of `tls`
            cannot be used.
    """
    running = running or RunningConfig(config)
    credentials = Credentials(config.tls) if config.tls.is_on else None
    inbox = Inbox(config.data.dir / "inbox", config.data.stop_accepting_below)
    aborted = inbox.recover(time.time())
    servers: list[Server] = []
    try:
        slots = Slots(config.node.max_associations, config.node.max_associations_per_host)
        reports = Reports(functools.partial(handlers.leave_note, inbox))
        requests = CallerRequests(config.data.dir)
        requests.make_all_due()
        commitments = Commitments(
            running, inbox, requests, ReceivedReports(config.data.dir), reports
        )
        reception = Reception(running, inbox, slots, reports, Pace(), commitments)
        for port, secret in _ports(config, credentials):
            servers.append(_server(reception, port, secret))
            server = servers[-1]
            threading.Thread(target=server.serve_forever, args=(0.1,), daemon=True).start()
            facts = {"ae": config.node.ae_title, "port": server.server_address[1]}
            how = " with TLS" if secret else ""
            log.info("listening%s", how, extra=facts | {"count": aborted})
        if ready:
            ready(servers[0].server_address[1])
        stop = stop or threading.Event()
        while not stop.wait(FLUSH_SECONDS):
            reports.flush()
            if running.follow():
                inbox.stop_below(running.config.data.stop_accepting_below)
                slots.limit(
                    running.config.node.max_associations,
                    running.config.node.max_associations_per_host,
                )
            if credentials is not None:
                credentials.warn(time.time())
        reports.flush(everything=True)
    finally:
        for server in servers:
            server.shutdown()
            for association in server.active_associations:
                association.abort()
        inbox.release()


def _ports(
    config: Config, credentials: Credentials | None
) -> Iterator[tuple[int, Credentials | None]]:
    """Yield each port, and the credentials of one with TLS."""
    if not config.tls.only:
        yield config.node.port, None
    if credentials is not None:
        yield config.tls.port, credentials


def _server(reception: Reception, port: int, credentials: Credentials | None) -> Server:
    running = reception.running
    config = running.config
    switch_off_pdu_logs()
    ae = AE(config.node.ae_title)
    ae.implementation_class_uid = IMPLEMENTATION_UID
    ae.implementation_version_name = IMPLEMENTATION_VERSION
    ae.maximum_pdu_size = MAXIMUM_PDU_BYTES
    ae.maximum_associations = MOST_THREADS
    ae.acse_timeout = ANSWER_SECONDS
    ae.network_timeout = IDLE_SECONDS
    bound: list[Any] = [
        (evt.EVT_REQUESTED, handlers.on_requested, [reception]),
        (evt.EVT_ACCEPTED, handlers.on_accepted, [reception]),
        (evt.EVT_RELEASED, handlers.on_released, [reception]),
    ]
    address = (config.node.host, port)
    title = config.node.ae_title
    try:
        server = Server(ae, address, title, [], evt_handlers=bound, credentials=credentials)
    except OSError as exc:
        message = f"cannot listen on {address[0]} port {port}: {exc.strerror}"
        key = "tls.port" if credentials else "node.port"
        raise Misconfigured(message, advice=f"Change `node.host` or `{key}`.") from exc
    inbox = reception.inbox
    server.reports, server.pace = reception.reports, reception.pace
    server.rejection = lambda *peer: rejection(running.config, *peer)
    server.on_certificate = functools.partial(handlers.on_certificate, reception=reception)
    server.new_spool = lambda: Spool(
        inbox.temporary_folder, running.config.node.largest_instance, inbox.check_space
    )
    server.commitments = reception.commitments
    server.on_store = functools.partial(handlers.on_store, reception=reception)
    server.on_end = functools.partial(handlers.on_end, reception=reception)
    return server
