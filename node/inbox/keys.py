"""Names of files and folders in the inbox: digests of UIDs, so no text of a peer becomes a path.

Guarantees: equal bytes have equal names, and names contain hexadecimal digits only.
"""

import hashlib
import re

KEY_BYTES = 16  # 32 hexadecimal digits: collisions are negligible

RESENT = ".resent"  # beside an instance: its time is when the same content was received last
DUPLICATE = ".duplicate"  # instead of `.dcm`: the same image as another file, in another encoding

_INSTANCE_NAME = re.compile(r"([0-9a-f]{32})\.([0-9a-f]{32})\.(dcm|resent|duplicate)")


def series_key(study: str, series: str) -> str:
    """Return the folder name of a series; of both UIDs, because some devices reuse series UIDs."""
    return hashlib.sha256(f"{study}\n{series}".encode()).hexdigest()[: 2 * KEY_BYTES]


def sop_key(sop_instance: str) -> str:
    """Return the first half of an instance's file name."""
    return hashlib.sha256(sop_instance.encode()).hexdigest()[: 2 * KEY_BYTES]


def content_key(transfer_syntax: str, data: bytes | memoryview) -> str:
    """Return the second half: digest of the data set as received and of its transfer syntax."""
    digest = hashlib.sha256(f"{transfer_syntax}\n".encode())
    digest.update(data)
    return digest.hexdigest()[: 2 * KEY_BYTES]


def instance_name(sop: str, content: str) -> str:
    """Return the file name of an instance with these two keys."""
    return f"{sop}.{content}.dcm"


def split_name(name: str) -> tuple[str, str] | None:
    """Return (sop key, content key) of an instance's file name; None for any other file."""
    match = _INSTANCE_NAME.fullmatch(name)
    return (match[1], match[2]) if match and match[3] == "dcm" else None


def kept_sop_key(name: str) -> str | None:
    """Return the SOP key of a file that holds an instance; None for any other file."""
    match = _INSTANCE_NAME.fullmatch(name)
    return match[1] if match and match[3] != "resent" else None


def resent_instance(name: str) -> str | None:
    """Return the instance to which a `.resent` file belongs; None for any other file."""
    match = _INSTANCE_NAME.fullmatch(name)
    return instance_name(match[1], match[2]) if match and match[3] == "resent" else None
