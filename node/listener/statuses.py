"""Statuses of a C-STORE response (PS3.4 B.2.3, PS3.7 C.5), and the exception that carries one."""

import enum


class StoreStatus(enum.IntEnum):
    """The statuses that this node sends."""

    SUCCESS = 0x0000
    CLASS_NOT_SUPPORTED = 0x0122
    OUT_OF_RESOURCES = 0xA700
    DATA_SET_MISMATCH = 0xA900  # the data set does not match the SOP Class
    CANNOT_UNDERSTAND = 0xC000
    TOO_LARGE = 0xC001  # of the same range: unlike 0xA700, resending does not help
    UNEXPECTED = (
        0xC0FF  # of the range "cannot understand": an internal error of this node, see its log
    )


class Unacceptable(Exception):
    """An instance is rejected with a failure status; the reason has no patient data.

    Raised and caught within the listener.
    """

    def __init__(self, status: StoreStatus, reason: str, advice: str = "") -> None:
        """Set all three; `study` and `series` are added as far as they could be read."""
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.advice = advice
        self.study = ""
        self.series = ""
