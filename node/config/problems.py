"""Find contradictions in a configuration that the types of its keys cannot exclude."""

import ipaddress
import re
from collections.abc import Iterator

from node.config.audit import audit_problems
from node.config.monitor import monitor_problems
from node.config.structs import AUTO, LONGEST_REPORT_WAIT_S, Config, Rule, TlsConfig
from node.conversion import KeyPath, shown

_LABEL = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")
# a file or a server: an SQLite database in memory would differ between processes
_DATABASE = re.compile(r"sqlite(\+\w+)?:///(?!$|:memory:).+|(?!sqlite)[a-z]\w*(\+\w+)?://.+")


def problems(config: Config) -> list[tuple[KeyPath, str]]:
    """Return contradictions that the types cannot exclude, as (path of the key, sentence)."""
    messages = [*_wrong_addresses(config), *_incomplete_tls(config.tls, config), *_no_tls(config)]
    names = [rule.name for rule in config.rules]
    for index, rule in enumerate(config.rules):
        at = ("rules", index)
        if names.index(rule.name) != index:
            messages.append(((*at, "name"), f"an earlier rule has the name {shown(rule.name)} too"))
        messages += [((*at, key), problem) for key, problem in _problems_of(rule, config)]
    for name, target in config.targets.items():
        if target.report_within > LONGEST_REPORT_WAIT_S:
            messages.append((("targets", name, "report_within"), "write at most 7 d"))
        others = (target.report, target.rtstruct, target.picture, target.notice)
        if target.seg == "none" and not any(others):
            problem = (
                "seg: none requires one of report, rtstruct, picture, notice: else it gets nothing"
            )
            messages.append((("targets", name, "seg"), problem))
        if target.report and target.seg not in ("binary", "none"):
            problem = "report: true requires seg: binary: readers refuse a report on a label map"
            messages.append((("targets", name, "report"), problem))
    monitored = monitor_problems(config.page, config.alerts)
    return [*messages, *monitored, *audit_problems(config.audit)]


def _wrong_addresses(config: Config) -> Iterator[tuple[KeyPath, str]]:
    places: dict[KeyPath, str] = {
        ("node", "host"): config.node.host,
        ("page", "host"): config.page.host,
    }
    places |= {("targets", name, "host"): target.host for name, target in config.targets.items()}
    for path, host in places.items():
        if not is_host(host):
            yield path, f"{shown(host)} is neither an address nor a host name"
    for index, caller in enumerate(() if config.callers == "any" else config.callers):
        if caller.port is not None and not caller.commitment:
            problem = "port is for storage commitment: set commitment: true, or remove port"
            yield ("callers", index, "port"), problem
        if caller.host and not (is_network(caller.host) or is_host(caller.host)):
            problem = f"{shown(caller.host)} is no address, network (10.1.0.0/16) or host name"
            yield ("callers", index, "host"), problem
    if config.data.database and not _DATABASE.fullmatch(config.data.database):
        problem = "not a database URL: write postgresql+psycopg://USER@HOST/NAME, or leave it empty"
        yield ("data", "database"), problem


def _incomplete_tls(tls: TlsConfig, config: Config) -> Iterator[tuple[KeyPath, str]]:
    files = {"certificate": tls.certificate, "key": tls.key, "trust": tls.trust}
    present = [key for key, file in files.items() if file is not None] + ["only"] * tls.only
    absent = [key for key, file in files.items() if file is None]
    if present and absent:
        message = f"{present[0]} requires the other keys of TLS too: write {', '.join(absent)}"
        yield ("tls", present[0]), message
    if tls.is_on and tls.port == config.node.port and not tls.only:
        yield ("tls", "port"), "node.port is the same: TLS requires a separate port"


def _no_tls(config: Config) -> Iterator[tuple[KeyPath, str]]:
    """Yield keys that have no effect without TLS."""
    for name, target in config.targets.items():
        if target.tls and not config.tls.is_on:
            yield ("targets", name, "tls"), "tls: true requires the files of the section tls"
        if target.certificate and not target.tls:
            yield ("targets", name, "certificate"), "a certificate requires tls: true"
    for index, caller in enumerate(() if config.callers == "any" else config.callers):
        if caller.certificate and not config.tls.is_on:
            problem = "a certificate requires the files of the section tls"
            yield ("callers", index, "certificate"), problem


def is_network(text: str) -> bool:
    """Return whether `text` is an address or a network, like 10.1.0.0/16."""
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
    return True


def is_host(text: str) -> bool:
    """Return whether `text` is an address, or a valid host name (RFC 1123)."""
    if is_network(text.partition("%")[0]):  # an address may name its interface
        return "/" not in text
    labels = text.removesuffix(".").split(".")
    return not labels[-1].isdigit() and all(_LABEL.fullmatch(label) for label in labels)


def _problems_of(rule: Rule, config: Config) -> list[tuple[str, str]]:
    messages = []
    for target in rule.send_to:
        if target not in config.targets:
            known = ", ".join(config.targets) or "none"
            messages.append(("send_to", f"no target {shown(target)}; targets: {known}"))
    if rule.deadline is not None and (rule.size or config.model.size) != AUTO:
        messages.append(
            ("deadline", "deadline requires size: auto: it limits the sizes that auto may choose")
        )
    if rule.comparable and rule.step_down_above is not None:
        problem = "comparable: true forbids another size under backlog: remove one of the two keys"
        messages.append(("step_down_above", problem))
    if rule.use != "none" and not rule.send_to:
        messages.append(("send_to", "a rule that uses a model requires at least one target"))
    return messages
