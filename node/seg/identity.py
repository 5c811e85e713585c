"""The equipment that makes a SEG."""

import msgspec

SEG_SERIES_NUMBER = 9001  # above the numbers that scanners use, and the same for every result


class SegIdentity(msgspec.Struct, frozen=True, kw_only=True):
    """The equipment that made a result, and the root of its UIDs."""

    manufacturer: str
    model_name: str
    serial: str
    software_version: str
    institution: str = ""
    uid_root: str = "2.25"
