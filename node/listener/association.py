"""One association: pynetdicom's, with only the two services of ours and an end that is always told.

Promises: `on_end` runs exactly once, however the association ends, and sockets are closed then.
"""

import logging
from collections import Counter
from collections.abc import Callable
from typing import Any

from pynetdicom.association import Association as PeerAssociation
from pynetdicom.dimse_primitives import C_ECHO, C_STORE
from pynetdicom.service_class import StorageServiceClass, VerificationServiceClass

from node import inbox
from node.listener.contexts import STORAGE, VERIFICATION
from node.listener.spool import Spool
from node.listener.statuses import StoreStatus
from node.listener.upper import DECODING_ERRORS, Messages, Upper

log = logging.getLogger("node.listener")


class Association(PeerAssociation):
    """The acceptor's side of one association."""

    def __init__(
        self, ae: Any, new_spool: Callable[[], Spool], on_end: Callable[["Association"], None]
    ) -> None:
        """Wait for a socket and `start`."""
        super().__init__(ae, "acceptor")
        self.dul = Upper(self)
        self.dimse = Messages(self, new_spool)
        self.acse_timeout = ae.acse_timeout  # once more: they are kept by the upper layer
        self.network_timeout = ae.network_timeout
        self._on_end = on_end
        self.visit: inbox.Association | None = None  # set when the association is welcome
        self.tally: Counter[str] = Counter()

    @property
    def calling_ae(self) -> str:
        """The AE title that the peer gives itself."""
        return str(getattr(self.requestor.primitive, "calling_ae_title", "") or "").strip()

    @property
    def host(self) -> str:
        """The peer's address."""
        return str(self.requestor.address_info.address)

    def leave_waiting_room(self) -> None:
        """Be no longer one of the silent connections."""
        if self.dul.socket.socket is not None:
            self._server.room.leave(self.dul.socket.socket)

    def run_reactor(self) -> None:
        """Serve until the end; then tell it."""
        try:
            super().run_reactor()
        except DECODING_ERRORS as exc:
            log.warning("a peer broke the protocol", extra={"kind": type(exc).__name__})
        finally:
            self.dul.kill_dul()
            wire = self.dul.socket
            if wire.socket is not None:
                self._server.shutdown_request(wire.socket)
            wire.hang_up()
            self._on_end(self)

    def _serve_request(self, msg: Any, context_id: int) -> None:
        """Answer C-ECHO and C-STORE where they were agreed upon; anything else ends it.

        By itself pynetdicom chooses the service by the command's SOP class: a C-STORE that names
        Verification would be answered as a C-ECHO, with success.
        """
        context = self._accepted_cx.get(context_id)
        agreed = str(context.abstract_syntax) if context else ""
        if isinstance(msg, C_STORE) and agreed in STORAGE and msg.is_valid_request:
            if msg.AffectedSOPClassUID == agreed:
                StorageServiceClass(self).SCP(msg, context)
            else:
                self._refuse_class(msg, context_id)
        elif isinstance(msg, C_ECHO) and agreed == VERIFICATION and msg.is_valid_request:
            VerificationServiceClass(self).SCP(msg, context)
        else:
            log.warning(
                "a request that was not agreed upon",
                extra={"ae": self.calling_ae, "host": self.host, "kind": type(msg).__name__},
            )
            self.abort()

    def _refuse_class(self, request: C_STORE, context_id: int) -> None:
        answer = C_STORE()
        answer.MessageIDBeingRespondedTo = request.MessageID
        answer.AffectedSOPInstanceUID = request.AffectedSOPInstanceUID
        answer.AffectedSOPClassUID = request.AffectedSOPClassUID
        answer.Status = int(StoreStatus.CLASS_NOT_SUPPORTED)
        request.DataSet.close()
        self.dimse.send_msg(answer, context_id)
