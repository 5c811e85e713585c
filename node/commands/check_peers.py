"""Checks of `segnode check` about TLS, targets and storage commitment."""

from collections.abc import Iterator
from typing import NamedTuple

from pydicom.uid import UID

from node.commands.findings import Finding, failed
from node.config import Config
from node.dicom.uids import (
    BINARY_SEG_CLASS,
    LABELMAP_SEG_CLASS,
    NOTICE_CLASS,
    REPORT_CLASS,
    RTSTRUCT_CLASS,
    SECONDARY_CAPTURE_CLASS,
)
from node.errors import NodeError, RefusedByTarget
from node.sender import Echo, echo, peer_of
from node.tls import Credentials, lifetime, page_lifetime

SEG_CLASSES = {"binary": BINARY_SEG_CLASS, "labelmap": LABELMAP_SEG_CLASS}
KINDS_OF = {"auto": ("binary", "labelmap"), "none": ()}


class _Beside(NamedTuple):
    """A kind of object that a target may get beside the SEG."""

    key: str  # of the target
    sop_class: UID
    text: str


BESIDE = (
    _Beside("report", REPORT_CLASS, "a report (Comprehensive 3D SR Storage)"),
    _Beside("rtstruct", RTSTRUCT_CLASS, "contours (RT Structure Set Storage)"),
    _Beside("notice", NOTICE_CLASS, "a notice (Basic Text SR Storage)"),
    _Beside("picture", SECONDARY_CAPTURE_CLASS, "a picture (Secondary Capture Image Storage)"),
)


def credentials_of(config: Config) -> Credentials | NodeError | None:
    """Read the files of `tls`; return the error if they cannot be used, None without TLS."""
    if not config.tls.is_on:
        return None
    try:
        return Credentials(config.tls)
    except NodeError as exc:
        return exc


def about_tls(credentials: Credentials | NodeError | None, now: float) -> Iterator[Finding]:
    """Yield whether the files of `tls` can be used, and when their certificates end."""
    if isinstance(credentials, NodeError):
        yield failed("TLS files", credentials)
    elif credentials is not None:
        for one in credentials.lifetimes(now):
            is_ours = one.name == "certificate of this node"
            which = f", SHA-256 {credentials.fingerprint}" if is_ours else ""
            yield Finding(
                f"TLS, {one.name}",
                ok=not one.is_over,
                message=f"{one.text}{which}",
                advice=one.advice if one.is_ending else "",
            )


def about_page(config: Config, now: float) -> Iterator[Finding]:
    """Yield when the certificate of the page ends."""
    subject = "TLS, certificate of the page"
    try:
        one = page_lifetime(config.page, now, config.tls.warn_before)
    except NodeError as exc:
        yield failed(subject, exc)
        return
    if one is not None:
        advice = one.advice if one.is_ending else ""
        yield Finding(subject, ok=not one.is_over, message=one.text, advice=advice)


def about_target(
    config: Config, name: str, credentials: Credentials | NodeError | None, now: float
) -> Finding:
    """Return what a target accepts, or the error that a delivery would meet later."""
    subject = f"target {name}"
    if isinstance(credentials, NodeError):
        if config.targets[name].tls:
            return failed(subject, credentials)
        credentials = None
    try:
        answer = echo(peer_of(config, name, credentials))
        message = _capabilities(config, name, answer)
    except (NodeError, OSError) as exc:
        return failed(subject, exc)
    if answer.session is None:
        return Finding(subject, ok=True, message=message)
    certificate = answer.session.certificate
    ends = lifetime("certificate", certificate, now, config.tls.warn_before)
    advice = "Let the administrator of the target renew its certificate." if ends.is_ending else ""
    message = f"{message}; {answer.session}, its certificate {ends.text}"
    return Finding(subject, ok=True, message=message, advice=advice)


def about_reports(config: Config) -> Iterator[Finding]:
    """Yield the peers that cannot deliver or receive a storage commitment report."""
    if config.callers == "any":
        return
    for caller in config.callers:
        if caller.commitment and caller.port is None:
            message = "commitment without port: a report is lost once the caller has released"
            advice = "Set the port at which this caller receives storage commitment reports."
            yield Finding(f"caller {caller.ae}", ok=True, message=message, advice=advice)
    titles = {caller.ae for caller in config.callers}
    for name, target in config.targets.items():
        if target.confirm == "commitment" and target.ae not in titles:
            message = (
                f"no caller is named {target.ae}: its reports on new associations are rejected"
            )
            advice = f"If it reports so, add to callers: - {{ae: {target.ae}, host: {target.host}}}"
            yield Finding(f"target {name}, reports", ok=True, message=message, advice=advice)


def _capabilities(config: Config, name: str, answer: Echo) -> str:
    target = config.targets[name]
    kinds = KINDS_OF.get(target.seg, (target.seg,))
    classes = {str(SEG_CLASSES[kind]): f"a {kind} segmentation" for kind in kinds}
    advice = dict.fromkeys(classes, f"change targets.{name}.seg")
    beside = [kind for kind in BESIDE if getattr(target, kind.key)]
    for kind in beside:
        classes[str(kind.sop_class)] = kind.text
        advice[str(kind.sop_class)] = f"set targets.{name}.{kind.key} to false"
    for sop_class, content in classes.items():
        if sop_class in answer.refusals:
            reason = answer.refusals[sop_class]
            message = f"{target.ae} does not accept {content}: {reason.message}"
            cure = f"Register the SOP class there, or {advice[sop_class]}."
            raise RefusedByTarget(message, advice=f"{cure} {reason.advice}")
    if target.confirm == "commitment" and not answer.commits:
        message = f"{target.ae} does not accept requests for storage commitment"
        cure = f"Register this node for them there, or set targets.{name}.confirm to find."
        raise RefusedByTarget(message, advice=cure)
    echoed = "answered C-ECHO" if answer.answers_echo else "opens associations, offers no C-ECHO"
    changed = {answer.changed_syntax(sop_class) for sop_class in classes} - {""}
    syntaxes = f" written in {', '.join(sorted(changed))}" if changed else ""
    queries = "answers queries" if answer.answers_queries else "answers no queries from us"
    takes = f"takes {' and '.join([*kinds, *(f'the {kind.key}' for kind in beside)])}{syntaxes}"
    commits = ", commits to storage" if answer.commits else ""
    return f"{target.ae}: {echoed} ({answer.seconds:.2f} s), {takes}, {queries}{commits}"
