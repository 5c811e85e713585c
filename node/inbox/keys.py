"""Names in the inbox: digests stand for UIDs, so nothing that a peer says becomes a path.

Promises: equal bytes have equal names, and names hold only hexadecimal digits.
Leaves to the listener: what is answered to a UID that is none.
"""

import hashlib
import re

KEY_BYTES = 16  # 32 hexadecimal digits: no two instances of a hospital will ever share a name

AGAIN = ".again"  # beside an instance: when the same content came once more
SAME = ".same"  # instead of `.dcm`: another file holds the same image in another encoding

_INSTANCE_NAME = re.compile(r"([0-9a-f]{32})\.([0-9a-f]{32})\.(dcm|again)")


def series_key(study: str, series: str) -> str:
    """Return the folder name of a series; both UIDs count, for some devices reuse series UIDs."""
    return hashlib.sha256(f"{study}\n{series}".encode()).hexdigest()[: 2 * KEY_BYTES]


def sop_key(sop_instance: str) -> str:
    """Return the first half of an instance's file name."""
    return hashlib.sha256(sop_instance.encode()).hexdigest()[: 2 * KEY_BYTES]


def content_key(transfer_syntax: str, data: bytes | memoryview) -> str:
    """Return the second half: the data set as received, and how it is encoded."""
    digest = hashlib.sha256(f"{transfer_syntax}\n".encode())
    digest.update(data)
    return digest.hexdigest()[: 2 * KEY_BYTES]


def instance_name(sop: str, content: str) -> str:
    """Return the file name made of the two keys."""
    return f"{sop}.{content}.dcm"


def split_name(name: str) -> tuple[str, str] | None:
    """Return (sop key, content key) of an instance's file name; None for any other file."""
    match = _INSTANCE_NAME.fullmatch(name)
    return (match[1], match[2]) if match and match[3] == "dcm" else None


def of_again(name: str) -> str | None:
    """Return the name of the instance that came again; None where `name` does not record that."""
    match = _INSTANCE_NAME.fullmatch(name)
    return instance_name(match[1], match[2]) if match and match[3] == "again" else None
