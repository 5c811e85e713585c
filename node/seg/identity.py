"""The equipment that makes a SEG."""

import msgspec


class SegIdentity(msgspec.Struct, frozen=True, kw_only=True):
    """The equipment that made a result, and the root of its UIDs."""

    manufacturer: str
    model_name: str
    serial: str
    software_version: str
    institution: str = ""
    uid_root: str = "2.25"
