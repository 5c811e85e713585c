"""Supported presentation contexts: Verification, and all storage classes in decodable syntaxes.

Of several transfer syntaxes in one context the sender's first is accepted, because the node never
transcodes. Deflated is not supported: half a megabyte of it expands to 512 MB.
"""

from collections.abc import Iterable
from typing import Any

from pydicom import uid as uids
from pydicom.uid import UID
from pynetdicom import AllStoragePresentationContexts
from pynetdicom.presentation import PresentationContext, build_context

from node.dicom.uids import LABELMAP_SEG_CLASS, VERIFICATION_CLASS

STORAGE = frozenset(
    [str(context.abstract_syntax) for context in AllStoragePresentationContexts]
    + [LABELMAP_SEG_CLASS]  # absent from the tables of some versions of pynetdicom
)
IMAGES = frozenset(uid for uid in STORAGE if "Image Storage" in UID(uid).name)  # have pixel data

# names as in docs/reference/conformance.md
NATIVE = {
    uids.ImplicitVRLittleEndian: "Implicit VR Little Endian",
    uids.ExplicitVRLittleEndian: "Explicit VR Little Endian",
    uids.ExplicitVRBigEndian: "Explicit VR Big Endian",
}
ENCAPSULATED = {
    uids.JPEGBaseline8Bit: "JPEG Baseline",
    uids.JPEGExtended12Bit: "JPEG Extended",
    uids.JPEGLossless: "JPEG Lossless",
    uids.JPEGLosslessSV1: "JPEG Lossless SV1",
    uids.JPEGLSLossless: "JPEG-LS Lossless",
    uids.JPEGLSNearLossless: "JPEG-LS Near-lossless",
    uids.JPEG2000Lossless: "JPEG 2000 Lossless",
    uids.JPEG2000: "JPEG 2000",
    uids.HTJ2KLossless: "HTJ2K Lossless",
    uids.HTJ2KLosslessRPCL: "HTJ2K Lossless RPCL",
    uids.HTJ2K: "HTJ2K",
    uids.RLELossless: "RLE Lossless",
}
TRANSFER_SYNTAXES = NATIVE | ENCAPSULATED


def supported(proposed: Iterable[Any]) -> list[PresentationContext]:
    """Return the supported contexts of those proposed, with syntaxes in the order of the sender."""
    orders: dict[str, dict[str, None]] = {}
    for context in proposed:
        name = str(context.abstract_syntax)
        if name in STORAGE or name == VERIFICATION_CLASS:
            known = TRANSFER_SYNTAXES if name in STORAGE else NATIVE
            syntaxes = (str(syntax) for syntax in context.transfer_syntax)
            orders.setdefault(name, {}).update(dict.fromkeys(s for s in syntaxes if s in known))
    return [build_context(name, list(order)) for name, order in orders.items() if order]
