"""A scripted target on loopback: an SCP whose responses to C-STORE and C-FIND are chosen."""

import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian
from pynetdicom import AE, evt
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelFind, Verification

from node.dicom.uids import BINARY_SEG_CLASS
from tests.support.orthanc import free_port

FIND = str(StudyRootQueryRetrieveInformationModelFind)


@dataclass
class Scripted:
    """The port of the target, and the instances that it received and was queried for."""

    port: int = field(default_factory=free_port)
    stored: list[str] = field(default_factory=list)
    queried: list[str] = field(default_factory=list)


@contextmanager
def scripted_target(
    *,
    store: int | Callable[[Any], int] = 0x0000,
    finds: bool = True,
    find_status: int = 0x0000,
    echo: int | None = 0x0000,
    contexts: tuple[str, ...] = (BINARY_SEG_CLASS, StudyRootQueryRetrieveInformationModelFind),
    syntaxes: tuple[str, ...] = (ExplicitVRLittleEndian,),
    tls: ssl.SSLContext | None = None,
    **settings: Any,
) -> Iterator[Scripted]:
    """Run the target.

    Args:
        store: the status of each C-STORE, or a function from the event to it.
        finds: whether a query finds what was stored.
        find_status: a status that refuses queries; 0: none.
        echo: the status of each C-ECHO; None: it does not offer C-ECHO.
        contexts: what it accepts beside C-ECHO.
        syntaxes: the transfer syntaxes of what it accepts beside queries and C-ECHO.
        tls: with it the target has TLS, as pynetdicom does it.
        settings: attributes of pynetdicom's AE, such as `require_calling_aet`.
    """
    ae = AE(ae_title="PEER")
    plain = (Verification, StudyRootQueryRetrieveInformationModelFind)
    for uid in (*([] if echo is None else [Verification]), *contexts):
        ae.add_supported_context(uid, [ExplicitVRLittleEndian] if uid in plain else list(syntaxes))
    for name, value in settings.items():
        setattr(ae, name, value)
    target = Scripted()

    def on_store(event: Any) -> int:
        target.stored.append(str(event.request.AffectedSOPInstanceUID))
        return store(event) if callable(store) else store

    def on_find(event: Any) -> Iterator[tuple[int, Dataset | None]]:
        requested = str(event.identifier.SOPInstanceUID)
        target.queried.append(requested)
        if find_status:
            yield find_status, None
        elif finds and requested in target.stored:
            match = Dataset()
            match.QueryRetrieveLevel, match.SOPInstanceUID = "IMAGE", requested
            yield 0xFF00, match

    handlers: list[Any] = [(evt.EVT_C_STORE, on_store), (evt.EVT_C_FIND, on_find)]
    handlers.append((evt.EVT_C_ECHO, lambda _: echo))
    server = ae.start_server(
        ("127.0.0.1", target.port), block=False, evt_handlers=handlers, ssl_context=tls
    )
    try:
        yield target
    finally:
        server.shutdown()
