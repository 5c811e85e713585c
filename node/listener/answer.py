"""Encode the C-STORE-RSP (PS3.7 9.3.1.2) without pydicom, which takes a millisecond for each.

The response repeats the UIDs of the request as the peer wrote them, if they are UIDs.
"""

import struct
from typing import Any

from pynetdicom.pdu_primitives import P_DATA

from node.dicom.elements import padded_text, padded_uid
from node.listener.statuses import StoreStatus
from node.listener.upper import NO_UID

C_STORE_RSP = 0x8001
NO_DATA_SET = 0x0101
LAST_COMMAND_FRAGMENT = b"\x03"  # PS3.8 E.2
MOST_COMMENT_CHARACTERS = 64  # Error Comment is an LO


def store_response(request: Any, context_id: int, status: StoreStatus, comment: str = "") -> P_DATA:
    """Return the response to `request`, ready to be sent."""
    elements = (
        _uid(0x0002, request.AffectedSOPClassUID)
        + _element(0x0100, struct.pack("<H", C_STORE_RSP))
        + _element(0x0120, struct.pack("<H", request.MessageID))
        + _element(0x0800, struct.pack("<H", NO_DATA_SET))
        + _element(0x0900, struct.pack("<H", status))
    )
    if comment:
        elements += _element(0x0902, padded_text(comment[:MOST_COMMENT_CHARACTERS]))
    elements += _uid(0x1000, request.AffectedSOPInstanceUID)
    elements = _element(0x0000, struct.pack("<I", len(elements))) + elements
    primitive = P_DATA()
    primitive.presentation_data_value_list.append([context_id, LAST_COMMAND_FRAGMENT + elements])
    return primitive


def _uid(number: int, uid: str) -> bytes:
    return b"" if uid == NO_UID else _element(number, padded_uid(uid))


def _element(number: int, value: bytes) -> bytes:
    return struct.pack("<HHI", 0x0000, number, len(value)) + value
