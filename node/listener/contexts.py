"""Supported presentation contexts: Verification, and all storage classes in decodable syntaxes.

Storage commitment is supported where the configuration says so.

A class that no edition of the standard names, as vendors define them, counts as a storage class: a
sender that is refused one of its classes often sends nothing of the study. Of several transfer
syntaxes in one context the sender's first is accepted, because the node never transcodes. Deflated
is not supported: half a megabyte of it expands to 512 MB.
"""

import functools
from collections.abc import Iterable, Sequence
from typing import Any

from pydicom import uid as uids
from pydicom.uid import UID, UID_dictionary
from pynetdicom import AllStoragePresentationContexts
from pynetdicom.presentation import PresentationContext, build_context
from pynetdicom.service_class import ServiceClass
from pynetdicom.sop_class import uid_to_service_class

from node.dicom.uids import COMMITMENT_CLASS, LABELMAP_SEG_CLASS, VERIFICATION_CLASS, is_uid

MOST_DESCRIBED = 3  # rejected contexts in a report

_STORAGE = frozenset(
    [str(context.abstract_syntax) for context in AllStoragePresentationContexts]
    + [LABELMAP_SEG_CLASS]  # absent from the tables of some versions of pynetdicom
)
IMAGES = frozenset(uid for uid in _STORAGE if "Image Storage" in UID(uid).name)  # have pixel data


@functools.lru_cache(maxsize=4096)  # peers may name any number of classes
def is_storage(abstract_syntax: str) -> bool:
    """Return whether a class is one for storage: any class but those of the other services."""
    if abstract_syntax in _STORAGE:
        return True
    known = UID(abstract_syntax)
    if uid_to_service_class(known) is not ServiceClass:
        return False
    if known in UID_dictionary:  # retired classes, and those of a few services
        others = any(word in known.name for word in ("Commitment", "Directory"))
        is_named_storage = "Storage" in known.name and not others
        return bool(known.type == "SOP Class" and (is_named_storage or not known.name))
    return is_uid(abstract_syntax)


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


def supported(
    proposed: Iterable[Any], *, with_commitment: bool = False
) -> list[PresentationContext]:
    """Return the supported contexts of those proposed, with syntaxes in the order of the sender."""
    plain = {VERIFICATION_CLASS, COMMITMENT_CLASS} if with_commitment else {VERIFICATION_CLASS}
    orders: dict[str, dict[str, None]] = {}
    for context in proposed:
        name = str(context.abstract_syntax)
        if is_storage(name) or name in plain:
            known = NATIVE if name in plain else TRANSFER_SYNTAXES
            syntaxes = (str(syntax) for syntax in context.transfer_syntax)
            orders.setdefault(name, {}).update(dict.fromkeys(s for s in syntaxes if s in known))
    contexts = [build_context(name, list(order)) for name, order in orders.items() if order]
    for context in contexts:
        if context.abstract_syntax == COMMITMENT_CLASS:  # a target that reports is the provider
            context.scu_role = context.scp_role = True
    return contexts


def described(rejected: Sequence[Any]) -> str:
    """Name the abstract syntaxes of rejected contexts, and why they were rejected."""
    names = sorted(f"{UID(context.abstract_syntax).name} ({_why(context)})" for context in rejected)
    more = f" and {len(names) - MOST_DESCRIBED} more" if len(names) > MOST_DESCRIBED else ""
    return ", ".join(names[:MOST_DESCRIBED]) + more


def _why(context: Any) -> str:
    if is_storage(str(context.abstract_syntax)):
        return "none of its transfer syntaxes can be decoded"
    if context.abstract_syntax == COMMITMENT_CLASS:
        return "set commitment for this caller, or confirm for a target"
    return "no class for storage"
