"""Words for events and objects, in one place: both are data, and people read words."""

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
        "rejected-commitment": "storage commitment message rejected",
        "unreported-commitment": "storage commitment not reported",
        "notes-full": "notes left out",
    }
)


def in_words(event: str) -> str:
    """Return what happened, in the past participle; an unknown event as it is."""
    return EVENT_WORDS.get(event, event)


_OBJECT_WORDS: Mapping[str, str] = MappingProxyType(
    {  # PS3.4 B.5; `node.dicom` knows them too, and takes a second to import
        "1.2.840.10008.5.1.4.1.1.66.4": "the SEG",
        "1.2.840.10008.5.1.4.1.1.66.7": "the label map SEG",
        "1.2.840.10008.5.1.4.1.1.88.11": "the notice",
        "1.2.840.10008.5.1.4.1.1.88.34": "the report",
        "1.2.840.10008.5.1.4.1.1.88.59": "the rejection note",
        "1.2.840.10008.5.1.4.1.1.481.3": "the RTSTRUCT",
        "1.2.840.10008.5.1.4.1.1.7": "the picture",
        "1.2.840.10008.5.1.4.1.1.7.4": "the picture",
    }
)


def object_words(sop_class_uid: str) -> str:
    """Return what a delivery sends, by its SOP class."""
    return _OBJECT_WORDS.get(sop_class_uid, "an object")
