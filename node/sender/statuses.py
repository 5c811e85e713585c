"""Statuses of a target's C-STORE response, and their meanings (PS3.4 B.2.3, PS3.7 Annex C)."""

from enum import IntEnum, StrEnum

from node.errors import NodeError, PeerBusy, RefusedByTarget


class StoreStatus(IntEnum):
    """Statuses with a name."""

    SUCCESS = 0x0000
    PROCESSING_FAILURE = 0x0110
    DUPLICATE_INSTANCE = 0x0111
    INVALID_INSTANCE = 0x0117
    CLASS_NOT_SUPPORTED = 0x0122
    NOT_AUTHORISED = 0x0124
    DUPLICATE_INVOCATION = 0x0210
    UNRECOGNISED_OPERATION = 0x0211
    MISTYPED_ARGUMENT = 0x0212
    OUT_OF_RESOURCES = 0xA700  # and all of 0xA7xx
    MISMATCH = 0xA900  # the data set does not match its class; all of 0xA9xx
    COERCED = 0xB000  # a warning: stored, with elements changed
    ELEMENTS_DISCARDED = 0xB006  # a warning
    WARNED_MISMATCH = 0xB007  # a warning
    CANNOT_UNDERSTAND = 0xC000  # and all of 0xCxxx


class Meaning(StrEnum):
    """The meaning of a status for the object."""

    STORED = "stored"
    WARNED = "stored with a warning"
    BUSY = "busy"
    REFUSED = "refused"


_FAMILIES = {  # first two digits -> the status that stands for all codes with them
    0xA7: StoreStatus.OUT_OF_RESOURCES,
    0xA9: StoreStatus.MISMATCH,
    **dict.fromkeys(range(0xC0, 0xD0), StoreStatus.CANNOT_UNDERSTAND),
}
_STORED = {
    StoreStatus.SUCCESS,
    StoreStatus.DUPLICATE_INSTANCE,  # stored by an earlier attempt whose response was lost
}
# problems of the target's disk or database are mostly transient, and a refusal is final
_BUSY = {StoreStatus.OUT_OF_RESOURCES, StoreStatus.PROCESSING_FAILURE}
_ADVICE = {
    StoreStatus.CLASS_NOT_SUPPORTED: "Ask whether the target can store this kind of SEG.",
    StoreStatus.NOT_AUTHORISED: "Ask the target's administrator to let this node store.",
    StoreStatus.MISMATCH: "See the log of the target for the reason.",
    StoreStatus.CANNOT_UNDERSTAND: "See the log of the target for the reason.",
}


def status_of(code: int) -> StoreStatus | None:
    """Return the status, or the one that stands for its range, or None."""
    if code in StoreStatus._value2member_map_:
        return StoreStatus(code)
    return _FAMILIES.get(code >> 8)


def name(code: int) -> str:
    """Return the name for messages, always with the number."""
    status = status_of(code)
    return f"{'UNKNOWN' if status is None else status.name} (0x{code:04X})"


def meaning(code: int) -> Meaning:
    """Return the meaning of `code`; an unknown code is a refusal."""
    status = status_of(code)
    if status in _STORED:
        return Meaning.STORED
    if code == 0x0001 or code >> 12 == 0xB:  # PS3.7 C.1.1: warnings
        return Meaning.WARNED
    return Meaning.BUSY if status in _BUSY else Meaning.REFUSED


def error(target: str, code: int) -> NodeError:
    """Return the error of a status with which an object is not stored."""
    message = f"{target} answered {name(code)}"
    if meaning(code) is Meaning.BUSY:
        return PeerBusy(message)
    status = status_of(code)
    advice = "" if status is None else _ADVICE.get(status, "")
    return RefusedByTarget(
        message, advice=advice or "See the log of the target, then retry the job."
    )
