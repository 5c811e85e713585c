"""Accept TCP connections, and start an association for those that request one.

Until its first byte, a connection takes one sleeping thread and nothing of pynetdicom. Silent
connections never block a sender. Health checks that connect and close are ignored.
"""

import logging
import select
import socket
import sys
import threading
from collections.abc import Callable
from datetime import timedelta
from socketserver import TCPServer
from typing import Any

from node.listener.association import StoreAssociation
from node.listener.spool import Spool
from node.listener.statuses import StoreStatus
from node.listener.upper import Wire
from node.pynetdicom_adapter import RequestHandler, ThreadedAssociationServer

FIRST_BYTE = timedelta(seconds=10)
MOST_SILENT = 64  # connections without a request; beyond that, the oldest is closed
ASSOCIATE_REQUEST = b"\x01"  # PS3.8 9.3.2: the first byte that a DICOM peer sends

log = logging.getLogger("node.listener")


class WaitingRoom:
    """Holds connections that have not requested an association yet."""

    def __init__(self, most: int) -> None:
        """Hold up to `most`."""
        self._most = most
        self._waiting: dict[socket.socket, None] = {}  # in order of arrival
        self._lock = threading.Lock()

    def enter(self, connection: socket.socket) -> None:
        """Add a connection; if the room is full, close the oldest one."""
        with self._lock:
            self._waiting[connection] = None
            oldest = next(iter(self._waiting)) if len(self._waiting) > self._most else None
            if oldest is not None:
                del self._waiting[oldest]
        if oldest is not None:
            hang_up(oldest)

    def leave(self, connection: socket.socket) -> None:
        """Remove a connection, if it is here."""
        with self._lock:
            self._waiting.pop(connection, None)


class Server(ThreadedAssociationServer):
    """Accepts connections, and starts associations for those that speak DICOM."""

    daemon_threads = True
    request_queue_size = 128
    new_spool: Callable[[], Spool]
    on_store: Callable[[StoreAssociation, Any, str], tuple[StoreStatus, str]]
    on_end: Callable[[StoreAssociation], None]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Listen; connections are accepted by `serve_forever`."""
        self.room = WaitingRoom(MOST_SILENT)
        super().__init__(*args, request_handler=_Connection, **kwargs)

    def get_request(self) -> tuple[socket.socket, Any]:
        """Accept a connection; set it to send without delay and to detect a vanished peer."""
        connection, address = super().get_request()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        return connection, address

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Wait for the first byte, on the thread of this connection."""
        self.room.enter(request)
        if _speaks_dicom(request):
            super().process_request_thread(request, client_address)
        else:
            self.room.leave(request)
            self.shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log that a connection failed, without its content."""
        del request
        log.error("a connection failed", exc_info=sys.exc_info(), extra={"host": client_address[0]})

    def shutdown(self) -> None:
        """Stop accepting connections."""
        TCPServer.shutdown(self)
        self.server_close()


class _Connection(RequestHandler):
    """One connection that has sent its first byte."""

    def _create_association(self) -> StoreAssociation:
        server = self.server
        association = StoreAssociation(self.ae, server.new_spool, server.on_store, server.on_end)
        association._server = server  # noqa: SLF001  as in pynetdicom's own
        association.name = (
            f"AcceptorThread@{self.client_address[0]}"  # pynetdicom counts them by name
        )
        association.set_socket(Wire(association, self.request))
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


def hang_up(connection: socket.socket) -> None:
    """Close a connection for which another thread may be waiting."""
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:  # gone already
        return


def _speaks_dicom(connection: socket.socket) -> bool:
    """Wait for the first byte; return whether it begins an A-ASSOCIATE-RQ."""
    poll = select.poll()
    poll.register(connection, select.POLLIN)
    try:
        if not poll.poll(FIRST_BYTE.total_seconds() * 1000):
            return False
        return connection.recv(1, socket.MSG_PEEK) == ASSOCIATE_REQUEST
    except OSError:
        return False
