"""One association: pynetdicom's, restricted to C-ECHO, C-STORE and storage commitment.

Guarantees: `on_end` is called exactly once, however the association ends, after its sockets are
closed.
"""

from collections import Counter
from collections.abc import Callable
from typing import Any

from pynetdicom.dimse_primitives import C_ECHO, C_STORE, N_ACTION, N_EVENT_REPORT
from pynetdicom.service_class import VerificationServiceClass

from node import inbox
from node.dicom.uids import COMMITMENT_CLASS, VERIFICATION_CLASS
from node.listener.answer import store_response
from node.listener.commitment import Commitments, Pending
from node.listener.contexts import is_storage
from node.listener.spool import Spool
from node.listener.statuses import StoreStatus
from node.listener.upper import Messages, Upper
from node.message_limits import DECODING_ERRORS
from node.pynetdicom_adapter import Association
from node.tls import Certificate
from node.upper_layer import MALFORMED, abort

MOST_MESSAGE_ID = 0xFFFF


class StoreAssociation(Association):
    """The acceptor's side of one association."""

    def __init__(
        self,
        ae: Any,
        calling_ae: str,
        new_spool: Callable[[], Spool],
        on_store: Callable[["StoreAssociation", Any, Any], tuple[StoreStatus, str]],
        on_end: Callable[["StoreAssociation"], None],
        commitments: Commitments,
    ) -> None:
        """Create the association; it needs a socket and `start`."""
        super().__init__(ae, "acceptor")
        self.dul = Upper(self)
        self.dimse = Messages(self, new_spool)
        self.acse_timeout = ae.acse_timeout  # again, because the upper layer keeps the timeouts
        self.network_timeout = ae.network_timeout
        self._on_store = on_store
        self._on_end = on_end
        self._commitments = commitments
        self.pending = Pending()
        self._message_id = 0
        self.calling_ae = calling_ae  # normalised; pynetdicom's may differ
        self.certificate: Certificate | None = None  # of the peer, with TLS
        self.record: inbox.AssociationRecord | None = None  # set when the association is accepted
        self.tally: Counter[str] = Counter()

    @property
    def host(self) -> str:
        """The address of the peer."""
        return str(self.requestor.address_info.address)

    @property
    def violation(self) -> str:
        """How the peer violated the protocol; empty if it did not."""
        return str(self.dul.socket.problem)

    def run_reactor(self) -> None:
        """Serve until the end, close the sockets, and call `on_end`."""
        try:
            super().run_reactor()
        except DECODING_ERRORS as exc:
            self.dul.socket.violate(f"a message that is not allowed now ({type(exc).__name__})")
            self.dul.socket.send(abort(*MALFORMED))
        finally:
            self.dul.kill_dul()
            wire = self.dul.socket
            if wire.socket is not None:
                self._server.shutdown_request(wire.socket)
            wire.close_bell()
            self._on_end(self)

    def on_quiet(self) -> None:
        """Do what waited until the peer sends nothing."""
        self._commitments.report_quiet(self)

    def next_message_id(self) -> int:
        """Return the ID of the next message that we send as a request."""
        self._message_id = self._message_id % MOST_MESSAGE_ID + 1
        return self._message_id

    def _serve_request(self, msg: Any, context_id: int) -> None:
        """Serve C-ECHO, C-STORE and storage commitment in their accepted contexts, or abort.

        pynetdicom chooses the service by the SOP class of the command: it would answer a C-STORE
        that names Verification as a C-ECHO, with success.
        """
        context = self._accepted_cx.get(context_id)
        agreed = str(context.abstract_syntax) if context else ""
        if isinstance(msg, C_STORE) and is_storage(agreed) and msg.is_valid_request:
            status, comment = self._on_store(self, msg, context)
            msg.DataSet.close()  # frees its memory: the association may stay idle for long
            self.dul.send_pdu(store_response(msg, context_id, status, comment))
        elif isinstance(msg, C_ECHO) and agreed == VERIFICATION_CLASS and msg.is_valid_request:
            VerificationServiceClass(self).SCP(msg, context)
        elif (
            isinstance(msg, N_ACTION | N_EVENT_REPORT)
            and agreed == COMMITMENT_CLASS
            and (msg.is_valid_request or msg.is_valid_response)
        ):
            self._commitments.serve(self, msg, context)
        else:
            name = type(msg).__name__.replace("_", "-")
            if not msg.is_valid_request and not msg.is_valid_response:
                problem = f"a {name} without all elements that it must have"
            else:
                problem = f"a {name} that this node does not serve in its presentation context"
            self.dul.socket.violate(problem)
            self.abort()
