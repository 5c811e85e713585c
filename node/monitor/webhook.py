"""Send one alert to a webhook: JSON by POST, with a time limit, without redirects."""

import http.client
import urllib.error
import urllib.request
from typing import IO

import msgspec

from node.errors import Transient
from node.monitor.alerts import Alert

TIMEOUT_S = 10.0
MOST_ANSWER_BYTES = 4096  # the answer is not read further
_ADVICE = "Correct alerts.webhook, or see the log of its server."


class AlertNotSent(Transient):
    """The webhook did not accept an alert."""

    code = "alert-not-sent"


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Turns a redirect into an error: an alert goes to the configured place or nowhere."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> None:
        """Follow nothing."""
        del req, fp, code, msg, headers, newurl


def post(url: str, alert: Alert, timeout_s: float = TIMEOUT_S) -> None:
    """Send an alert. The URL may hold a secret, so no message quotes it.

    Raises:
        AlertNotSent: no connection, no answer in time, or a status other than 2xx.
    """
    request = urllib.request.Request(  # noqa: S310  the configuration allows http and https only
        url,
        data=msgspec.json.encode(alert),
        headers={"Content-Type": "application/json", "User-Agent": "segnode"},
        method="POST",
    )
    opener = urllib.request.build_opener(_NoRedirect())
    try:
        with opener.open(request, timeout=timeout_s) as answer:
            answer.read(MOST_ANSWER_BYTES)
    except urllib.error.HTTPError as exc:
        status = exc.code
        exc.close()
        message = f"the webhook answered with status {status}"
        raise AlertNotSent(message, advice=_ADVICE) from exc
    except (OSError, http.client.HTTPException, ValueError) as exc:
        reason = getattr(exc, "reason", None) or type(exc).__name__
        cause = getattr(reason, "strerror", None) or type(reason).__name__
        kind = reason if isinstance(reason, str) else cause
        message = f"the webhook does not answer ({kind})"
        raise AlertNotSent(message, advice=_ADVICE) from exc
