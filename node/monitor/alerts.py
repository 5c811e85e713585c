"""Decide which changes of the conditions are worth an alert, and remember which were sent.

Promises: a condition is reported once when it is raised and once when it is cleared, also over a
restart; one that comes and goes within `SETTLE_S` is not reported. An alert holds no UID and no
patient data.
"""

import datetime
from collections.abc import Iterable
from enum import StrEnum

import msgspec

from node.conditions import Condition, View

SETTLE_S = 60.0  # a loop that is restarted is back by then


class Change(StrEnum):
    """What an alert reports."""

    RAISED = "raised"
    CLEARED = "cleared"
    DIGEST = "digest"  # daily: everything that needs attention


class Item(msgspec.Struct, frozen=True, kw_only=True):
    """One condition in an alert."""

    code: str
    subject: str
    since: str | None  # UTC, RFC 3339; null: not recorded
    text: str
    advice: str


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """The JSON that a webhook receives."""

    node: str  # AE title
    change: Change
    at: str  # UTC, RFC 3339
    conditions: tuple[Item, ...]  # one, except in a digest


class Reported(msgspec.Struct, frozen=True, kw_only=True):
    """What was reported to the webhook; the content of the file in the data folder."""

    conditions: dict[str, Item] = {}  # by key
    digest_on: str = ""  # local date of the last digest


class Watch:
    """Follows the conditions of one node."""

    def __init__(self, node: str, digest_at: str, reported: Reported) -> None:
        """Continue from what was reported before a restart."""
        self._node, self._digest_at = node, digest_at
        self.reported = reported
        self._changed_at: dict[str, float] = {}  # key -> since when it differs from `reported`

    def due(self, view: View, local: datetime.datetime) -> list[Alert]:
        """Return the alerts that are due; each stays due until `sent`.

        Args:
            view: the conditions now.
            local: the same moment in local time, for the digest.
        """
        now = view.at
        current = {condition.key: _item(condition) for condition in view.conditions}
        differ = current.keys() ^ self.reported.conditions.keys()
        self._changed_at = {key: min(self._changed_at.get(key, now), now) for key in differ}
        settled = [key for key, at in self._changed_at.items() if now - at >= SETTLE_S]
        alerts = [
            self._alert(Change.RAISED, now, [current[key]]) for key in current if key in settled
        ]
        alerts += [
            self._alert(Change.CLEARED, now, [item])
            for key, item in self.reported.conditions.items()
            if key in settled
        ]
        if self._is_digest_due(local):
            alerts.append(self._alert(Change.DIGEST, now, current.values()))
        return alerts

    def sent(self, alert: Alert, local: datetime.datetime) -> None:
        """Note that the webhook accepted an alert."""
        known = dict(self.reported.conditions)
        if alert.change is Change.DIGEST:
            today = local.date().isoformat()
            self.reported = msgspec.structs.replace(self.reported, digest_on=today)
            return
        for item in alert.conditions:
            key = f"{item.code} {item.subject}".rstrip()
            self._changed_at.pop(key, None)
            if alert.change is Change.RAISED:
                known[key] = item
            else:
                known.pop(key, None)
        self.reported = msgspec.structs.replace(self.reported, conditions=known)

    def _is_digest_due(self, local: datetime.datetime) -> bool:
        is_time = bool(self._digest_at) and local.strftime("%H:%M") >= self._digest_at
        return is_time and self.reported.digest_on != local.date().isoformat()

    def _alert(self, change: Change, now: float, items: Iterable[Item]) -> Alert:
        return Alert(node=self._node, change=change, at=_utc(now), conditions=tuple(items))


def restored(content: bytes) -> Reported:
    """Read what was reported; an unreadable file counts as empty, so that all is reported again."""
    try:
        return msgspec.json.decode(content, type=Reported)
    except msgspec.MsgspecError:
        return Reported()


def _item(condition: Condition) -> Item:
    return Item(
        code=condition.code.value,
        subject=condition.subject,
        since=None if condition.since is None else _utc(condition.since),
        text=condition.text,
        advice=condition.advice,
    )


def _utc(at: float) -> str:
    moment = datetime.datetime.fromtimestamp(at, datetime.UTC)
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")
