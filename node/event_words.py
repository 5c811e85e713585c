"""Words for the events of a history, in one place: events are data, and people read words."""

from collections.abc import Mapping
from types import MappingProxyType

EVENT_WORDS: Mapping[str, str] = MappingProxyType(
    {
        "received": "received",
        "planned": "planned",
        "no-rule": "matched no rule",
        "unsuitable": "found unsuitable",
        "held": "held for a person",
        "queued": "queued",
        "claim": "started",
        "finish": "finished",
        "retry": "postponed",
        "expire": "interrupted, queued again",
        "exhaust": "failed, attempts used up",
        "mark-unsuitable": "found unsuitable",
        "fail": "failed",
        "supersede": "superseded",
        "request-cancel": "cancellation requested",
        "cancel": "cancelled",
        "requeue": "queued again",
        "resend": "queued to be sent again",
        "retract": "retracted",
        "result-rejected": "result rejected by a key object selection",
        "result-selected": "result named by a key object selection",
        "pause-rule": "rule paused",
        "resume-rule": "rule resumed",
        "choose-size": "size of a rule chosen",
        "note": "noted",
        "resent": "received once more",
        "replan": "planned again",
        "reload": "configuration reloaded",
        "earlier-rules": "earlier rules passed over",
        "clock-step": "clock set",
        "await-report": "sent, report awaited",
        "commitment-report": "storage commitment reported",
        "rejected-association": "association rejected",
        "invalid-request": "association request rejected",
        "failed-handshake": "TLS handshake failed",
        "certificate-ends": "end of a certificate noticed",
        "no-context": "no presentation context accepted",
        "rejected-context": "presentation context rejected",
        "protocol-violation": "association aborted",
        "rejected-instance": "image rejected",
        "conflicting-instance": "contradicting image kept",
        "out-of-space": "image rejected, disk low",
        "unreported-commitment": "storage commitment not reported",
        "notes-full": "notes left out",
    }
)


def in_words(event: str) -> str:
    """Return what happened, in the past participle; an unknown event as it is."""
    return EVENT_WORDS.get(event, event)
