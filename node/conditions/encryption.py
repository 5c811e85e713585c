"""Conditions of TLS: files that cannot be used, and certificates that end."""

from collections.abc import Iterator

from node.conditions.condition import Condition, ConditionCode, sentence
from node.status import Snapshot


def unusable(snapshot: Snapshot) -> Iterator[Condition]:
    """Yield that the files of `tls` cannot be used."""
    if snapshot.tls.problem:
        yield Condition(
            code=ConditionCode.TLS_UNUSABLE,
            subject="",
            since=None,
            text=f"{sentence(snapshot.tls.problem)} The running node goes on with the files "
            "before; it would not start again.",
            advice=snapshot.tls.advice,
        )


def ending(snapshot: Snapshot) -> Iterator[Condition]:
    """Yield the certificates that end within `tls.warn_before`, or have ended."""
    for one in snapshot.tls.lifetimes:
        if one.is_ending:
            yield Condition(
                code=ConditionCode.CERTIFICATE_ENDS,
                subject=one.name,
                since=one.ends_at if one.is_over else None,
                text=f"The {one.name} {one.text}.",
                advice=one.advice,
            )
