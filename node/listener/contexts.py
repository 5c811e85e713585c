"""What we take: Verification, every storage class, every transfer syntax that can be decoded here.

Promises: of several transfer syntaxes in one context, the sender's first is taken: we never
recode, so what suits the sender suits us. Deflated is not offered: half a megabyte of it unpacks
to 512 MB.
"""

from collections.abc import Iterable
from typing import Any

from pydicom.uid import UID
from pynetdicom import AllStoragePresentationContexts
from pynetdicom.presentation import PresentationContext, build_context

VERIFICATION = "1.2.840.10008.1.1"
LABELMAP_SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66.7"  # newer than some tables of pynetdicom
STORAGE = frozenset(
    [str(context.abstract_syntax) for context in AllStoragePresentationContexts]
    + [LABELMAP_SEGMENTATION]
)
IMAGES = frozenset(uid for uid in STORAGE if "Image Storage" in UID(uid).name)  # have pixel data

IMPLICIT_LITTLE = "1.2.840.10008.1.2"
EXPLICIT_LITTLE = "1.2.840.10008.1.2.1"
EXPLICIT_BIG = "1.2.840.10008.1.2.2"
NATIVE = {
    IMPLICIT_LITTLE: "Implicit VR Little Endian",
    EXPLICIT_LITTLE: "Explicit VR Little Endian",
    EXPLICIT_BIG: "Explicit VR Big Endian",
}
ENCAPSULATED = {
    "1.2.840.10008.1.2.4.50": "JPEG Baseline",
    "1.2.840.10008.1.2.4.51": "JPEG Extended",
    "1.2.840.10008.1.2.4.57": "JPEG Lossless",
    "1.2.840.10008.1.2.4.70": "JPEG Lossless SV1",
    "1.2.840.10008.1.2.4.80": "JPEG-LS Lossless",
    "1.2.840.10008.1.2.4.81": "JPEG-LS Near-lossless",
    "1.2.840.10008.1.2.4.90": "JPEG 2000 Lossless",
    "1.2.840.10008.1.2.4.91": "JPEG 2000",
    "1.2.840.10008.1.2.4.201": "HTJ2K Lossless",
    "1.2.840.10008.1.2.4.202": "HTJ2K Lossless RPCL",
    "1.2.840.10008.1.2.4.203": "HTJ2K",
    "1.2.840.10008.1.2.5": "RLE Lossless",
}
TRANSFER_SYNTAXES = NATIVE | ENCAPSULATED


def supported(proposed: Iterable[Any]) -> list[PresentationContext]:
    """Return, for each SOP class proposed that we take, its syntaxes in the sender's order."""
    orders: dict[str, dict[str, None]] = {}
    for context in proposed:
        name = str(context.abstract_syntax)
        if name in STORAGE or name == VERIFICATION:
            known = TRANSFER_SYNTAXES if name in STORAGE else NATIVE
            syntaxes = (str(syntax) for syntax in context.transfer_syntax)
            orders.setdefault(name, {}).update(dict.fromkeys(s for s in syntaxes if s in known))
    return [build_context(name, list(order)) for name, order in orders.items() if order]
