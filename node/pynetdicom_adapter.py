"""All that the node overrides, reads or sets of pynetdicom beside its public interface.

The version is pinned, and a test compares these names and signatures with the installed version:
an update that changes one of them fails there, and not in a hospital.
"""

import time
from types import SimpleNamespace

from pynetdicom import _config, evt, timer
from pynetdicom.ae import ApplicationEntity
from pynetdicom.association import Association
from pynetdicom.dimse import DIMSEServiceProvider
from pynetdicom.dul import DULServiceProvider
from pynetdicom.transport import (
    AddressInformation,
    AssociationSocket,
    RequestHandler,
    ThreadedAssociationServer,
)

# its timers read the wall clock: a step would end idle associations, or keep silent ones for hours
timer.time = SimpleNamespace(time=time.monotonic)

__all__ = [
    "OVERRIDDEN",
    "PRIVATE_ATTRIBUTES",
    "AddressInformation",
    "ApplicationEntity",
    "Association",
    "AssociationSocket",
    "DIMSEServiceProvider",
    "DULServiceProvider",
    "RequestHandler",
    "ThreadedAssociationServer",
    "evt",
    "send_files_unchanged",
    "switch_off_pdu_logs",
]

# base class -> method -> its parameters after `self`; None: a property
OVERRIDDEN: dict[type, dict[str, tuple[str, ...] | None]] = {
    Association: {
        "__init__": ("ae", "mode"),
        "run_reactor": (),
        "_serve_request": ("msg", "context_id"),
    },
    ApplicationEntity: {"_create_socket": ("assoc", "address", "tls_args")},
    AssociationSocket: {
        "__init__": ("assoc", "client_socket", "address"),
        "connect": ("primitive",),
        "ready": None,
        "recv": ("nr_bytes",),
        "send": ("bytestream",),
        "_shutdown_socket": (),
    },
    DIMSEServiceProvider: {
        "__init__": ("assoc",),
        "get_msg": ("block",),
        "receive_primitive": ("primitive",),
    },
    DULServiceProvider: {
        "__init__": ("assoc",),
        "send_pdu": ("primitive",),
        "run_reactor": (),
        "_decode_pdu": ("bytestream",),
        "_read_pdu_data": (),
    },
    RequestHandler: {
        "__init__": ("request", "client_address", "server"),
        "_create_association": (),
    },
    ThreadedAssociationServer: {
        "__init__": (
            "ae", "address", "ae_title", "contexts", "ssl_context", "evt_handlers",
            "request_handler",
        ),
        "get_request": (),
        "verify_request": ("request", "client_address"),
        "process_request_thread": ("request", "client_address"),
        "handle_error": ("request", "client_address"),
        "shutdown": (),
    },
}  # fmt: skip

# class -> attributes of an instance that the node reads or sets
PRIVATE_ATTRIBUTES: dict[type, tuple[str, ...]] = {
    Association: ("_accepted_cx", "_server", "dimse", "dul"),
    AssociationSocket: ("_is_connected", "_ready", "event_queue", "provider_queue", "socket"),
    DIMSEServiceProvider: ("dul", "message", "msg_queue"),
    DULServiceProvider: ("_run_loop_delay", "event_queue", "state_machine", "to_user_queue"),
    ThreadedAssociationServer: ("_handlers",),
}


def send_files_unchanged() -> None:
    """Let C-STORE send the bytes of a file: the verified ones, without decoding a large SEG."""
    _config.STORE_SEND_CHUNKED_DATASET = True


def switch_off_pdu_logs() -> None:
    """Stop pynetdicom from formatting each PDU, which it does even if nothing is logged."""
    _config.LOG_HANDLER_LEVEL = "none"
