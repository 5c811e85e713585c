"""Compare patients by what headers state: Patient ID, its issuer and the birth date.

An absent value is unknown and contradicts no other. Where both Patient IDs are known, they decide
together with their issuers, because birth dates are corrected more often. Otherwise the birth
dates decide.
"""

from collections.abc import Sequence

from node.series.header import Header

# Patient ID, its issuer and the birth date, as digests or as text; empty: unknown
Patient = tuple[str, str, str]


def patient_of(header: Header) -> Patient:
    """Return the patient of an image, as digests."""
    return header.patient_digest, header.issuer_digest, header.birth_digest


def differ(one: Patient, other: Patient) -> bool:
    """Return whether two patients are surely not the same."""
    (number, issuer, birth), (other_number, other_issuer, other_birth) = one, other
    if not number or not other_number:
        return _contradict(birth, other_birth)
    return number != other_number or _contradict(issuer, other_issuer)


def births(headers: Sequence[Header]) -> set[str]:
    """Return the birth dates of which one at least has no Patient ID beside it.

    Empty if every image has a Patient ID, or if those without one state no birth date.
    """
    unidentified = {h.birth_digest for h in headers if not h.patient_digest} - {""}
    identified = {h.birth_digest for h in headers if h.patient_digest} - {""}
    if len(unidentified) < 2 and unidentified <= identified:
        return unidentified
    return unidentified | identified


def _contradict(one: str, other: str) -> bool:
    return bool(one and other and one != other)
