"""What can be answered to a C-STORE (PS3.4 B.2.3, PS3.7 C.5), and how handlers say it."""

import enum


class StoreStatus(enum.IntEnum):
    """The answers this node gives."""

    SUCCESS = 0x0000
    CLASS_NOT_SUPPORTED = 0x0122
    OUT_OF_RESOURCES = 0xA700
    DATA_SET_MISMATCH = 0xA900  # the data set does not match the SOP Class
    CANNOT_UNDERSTAND = 0xC000
    TOO_LARGE = 0xC001  # of the same range: unlike 0xA700, sending it again is of no use
    UNEXPECTED = 0xC0FF  # of the range "cannot understand": a defect of ours, look at the log


class Unacceptable(Exception):
    """This instance is answered with a failure; the reason has no patient data in it.

    Never leaves the listener.
    """

    def __init__(self, status: StoreStatus, reason: str) -> None:
        """Keep both; `study` and `series` are added where they could be read."""
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.study = ""
        self.series = ""
