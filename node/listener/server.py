"""Accept TCP connections, and start an association for callers that request one.

Until a caller is known by title, address and certificate, a connection takes one thread and nothing
of pynetdicom, which would complete each TLS handshake before it accepts the next connection. Silent
connections never block a sender. Health checks that connect and close are ignored; every other
connection ends with an association or a report.
"""

import contextlib
import logging
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from socketserver import TCPServer
from typing import Any

from node import tls
from node.listener.association import StoreAssociation
from node.listener.callers import Rejection, plain_host
from node.listener.commitment import Commitments
from node.listener.pace import PER_SECOND, Pace
from node.listener.reports import Reports
from node.listener.request import (
    AssociationRequest,
    FailedHandshake,
    InvalidRequest,
    Rejected,
    accept_tls,
    answer_and_drain,
    begins_tls,
    read_request,
    reject,
)
from node.listener.spool import Spool
from node.listener.statuses import StoreStatus
from node.listener.upper import Wire
from node.pynetdicom_adapter import RequestHandler, ThreadedAssociationServer
from node.upper_layer import hang_up, say_goodbye

MOST_SILENT = 64  # connections without a request; beyond that, the oldest is closed

log = logging.getLogger("node.listener")


class SilentConnections:
    """Holds connections that have not requested an association yet."""

    def __init__(self, most: int) -> None:
        """Hold up to `most`."""
        self._most = most
        self._waiting: dict[socket.socket, None] = {}  # in order of arrival
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def holding(self, connection: socket.socket) -> Iterator[None]:
        """Hold a connection during a block; if there are too many, close the oldest one."""
        with self._lock:
            self._waiting[connection] = None
            oldest = next(iter(self._waiting)) if len(self._waiting) > self._most else None
            if oldest is not None:
                del self._waiting[oldest]
        if oldest is not None:
            hang_up(oldest)
        try:
            yield
        finally:
            with self._lock:
                self._waiting.pop(connection, None)


class Server(ThreadedAssociationServer):
    """Accepts connections, and starts associations for those that use DICOM."""

    daemon_threads = True
    request_queue_size = 128
    reports: Reports
    pace: Pace
    # by called title, calling title, host, certificate
    rejection: Callable[[str, str, str, tls.Certificate | None], Rejection | None]
    on_certificate: Callable[[tls.Certificate, str, str], None]  # of a caller, its title, its host
    new_spool: Callable[[], Spool]
    on_store: Callable[[StoreAssociation, Any, Any], tuple[StoreStatus, str]]
    on_end: Callable[[StoreAssociation], None]
    commitments: Commitments

    def __init__(
        self, *args: Any, credentials: tls.Credentials | None = None, **kwargs: Any
    ) -> None:
        """Listen, with TLS if there are credentials; `serve_forever` accepts connections."""
        self.credentials = credentials
        self.silent = SilentConnections(MOST_SILENT)
        super().__init__(*args, request_handler=_Connection, **kwargs)

    def get_request(self) -> tuple[socket.socket, Any]:
        """Accept a connection; set it to send without delay and to detect a vanished peer."""
        connection, address = super().get_request()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        return connection, address

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Close a connection at once if its host connects far too often."""
        del request
        host = plain_host(client_address[0])
        if not self.pace.is_exhausted(host):
            return True
        self._report_pace(host)
        return False

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Read the request on the thread of this connection, and start the association."""
        host = plain_host(client_address[0])
        connection: socket.socket = request
        try:
            if self._waited(host):
                connection = self._secured(request)
                association_request = self._request_of(connection, host)
                if association_request is not None:
                    _Connection(connection, client_address, self, association_request)
                    return
        except InvalidRequest as exc:
            self.reports.add("invalid-request", exc.reason, exc.ae, host, exc.advice)
            answer_and_drain(connection, exc.answer)
        except FailedHandshake as exc:
            message = f"a TLS handshake failed: {exc.fault.message}"
            self.reports.add("failed-handshake", message, "", host, exc.fault.advice)
            answer_and_drain(connection, b"")
        except Rejected as exc:
            no = exc.rejection
            self.reports.add("rejected-association", no.message, exc.ae, host, no.advice)
            answer_and_drain(connection, reject(no))
        except Exception:  # noqa: BLE001  one connection must not end the server
            self.handle_error(request, client_address)
        say_goodbye(connection)
        self.shutdown_request(connection)

    def _waited(self, host: str) -> bool:
        """Wait until a connection of `host` may go on; return whether it may."""
        wait_s = self.pace.take(host)
        if wait_s is None:
            self._report_pace(host)
            return False
        time.sleep(wait_s)
        return True

    def _secured(self, connection: socket.socket) -> socket.socket:
        """Prepare a connection for TLS, if this port has it; the handshake follows."""
        if self.credentials is None:
            return connection
        with self.silent.holding(connection):
            if not begins_tls(connection):
                return connection
        try:
            return self.credentials.server.wrap_socket(
                connection, server_side=True, do_handshake_on_connect=False
            )
        except OSError:  # the peer has reset it
            return connection

    def _request_of(self, connection: socket.socket, host: str) -> AssociationRequest | None:
        if self.credentials is not None and not isinstance(connection, ssl.SSLSocket):
            return None  # the peer has closed it
        with self.silent.holding(connection):
            certificate = accept_tls(connection) if isinstance(connection, ssl.SSLSocket) else None
            association_request = read_request(
                connection,
                lambda called, calling: self.rejection(called, calling, host, certificate),
            )
        if association_request is None or certificate is None:
            return association_request
        self.on_certificate(certificate, association_request.calling, host)
        return replace(association_request, certificate=certificate)

    def _report_pace(self, host: str) -> None:
        message = f"more than {PER_SECOND:g} connections per second without an association"
        self.reports.add("invalid-request", message, "", host, "Find out what runs on that host.")

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log that a connection failed, without its content."""
        del request
        log.error("a connection failed", exc_info=sys.exc_info(), extra={"host": client_address[0]})

    def shutdown(self) -> None:
        """Stop accepting connections."""
        TCPServer.shutdown(self)
        self.server_close()


class _Connection(RequestHandler):
    """One connection whose request was read, and whose caller is known."""

    def __init__(
        self,
        request: Any,
        client_address: Any,
        server: Server,
        association_request: AssociationRequest,
    ) -> None:
        """Start the association."""
        self._association_request = association_request
        super().__init__(request, client_address, server)

    def _create_association(self) -> StoreAssociation:
        server = self.server
        association = StoreAssociation(
            self.ae,
            self._association_request.calling,
            server.new_spool,
            server.on_store,
            server.on_end,
            server.commitments,
        )
        association.certificate = self._association_request.certificate
        association._server = server  # noqa: SLF001  as in pynetdicom's own
        association.name = (
            f"AcceptorThread@{self.client_address[0]}"  # pynetdicom counts them by name
        )
        association.set_socket(Wire(association, self.request, self._association_request))
        association.acceptor.maximum_length = self.ae.maximum_pdu_size
        association.acceptor.ae_title = server.ae_title
        association.acceptor.address_info = self.local
        association.acceptor.implementation_class_uid = self.ae.implementation_class_uid
        association.acceptor.implementation_version_name = self.ae.implementation_version_name
        association.acceptor.supported_contexts = []  # known when the request is: see handlers
        association.requestor.address_info = self.remote
        for event, bound in server._handlers.items():  # noqa: SLF001
            for handler, arguments in [bound] if isinstance(bound, tuple) else bound:
                association.bind(event, handler, arguments)
        return association
