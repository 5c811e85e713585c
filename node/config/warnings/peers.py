"""Warn about callers and targets: unknown, unused, repeated, or this node itself."""

import difflib
import ipaddress
import socket
from collections.abc import Iterator

from node.config.problems import is_network
from node.config.structs import Caller, Config, Target, several
from node.config.warnings.code import Code, Warned

LOCAL_NAMES = ("localhost", "localhost.localdomain")


def warnings_of(config: Config) -> Iterator[Warned]:
    """Yield the warnings about callers and targets."""
    if config.callers != "any" and config.callers:
        yield from _odd_callers(config, config.callers)
        yield from _repeated_callers(config.callers)
        yield from _unknown_callers(config, [caller.ae for caller in config.callers])
        yield from _unmatched_callers(config, config.callers)
        yield from _local_only(config, config.callers)
    yield from _own_targets(config)
    yield from _repeated_targets(config)
    used = {name for rule in config.rules if rule.use != "none" for name in rule.send_to}
    for name in config.targets:
        if name not in used and config.rules:
            message = f"no rule with a model sends to target {name}"
            advice = f"Add {name} to `send_to` of a rule, or remove the target."
            yield Warned(Code.UNUSED_TARGET, ("targets", name), message, advice)


def _odd_callers(config: Config, callers: tuple[Caller, ...]) -> Iterator[Warned]:
    for index, caller in enumerate(callers):
        if caller.ae == config.node.ae_title:
            message = f"caller {caller.ae} has the AE title of this node"
            advice = "Write the AE title from which the peer sends."
            yield Warned(Code.OWN_CALLER, ("callers", index, "ae"), message, advice)
        if _is_unspecified(caller.host):
            message = f"no peer calls from {caller.host}"
            advice = "Write its address, or remove the host to allow any."
            yield Warned(Code.NEVER_MATCHES, ("callers", index, "host"), message, advice)


def _repeated_callers(callers: tuple[Caller, ...]) -> Iterator[Warned]:
    for index, caller in enumerate(callers):
        before = [one for one in callers[:index] if one.ae == caller.ae]
        if any(_sender(one) == _sender(caller) for one in before):
            message = f"caller {caller.ae} is listed twice with the same host"
        elif before and any(not one.host and not one.certificate for one in (caller, *before)):
            message = f"one entry of caller {caller.ae} has no host: the others limit nothing"
        else:
            continue
        advice = "Remove one entry, or correct its AE title or host."
        yield Warned(Code.REPEATED_CALLER, ("callers", index), message, advice)


def _sender(caller: Caller) -> tuple[str, str]:
    return caller.host.lower(), caller.certificate


def _unknown_callers(config: Config, known: list[str]) -> Iterator[Warned]:
    for index, rule in enumerate(config.rules):
        for ae in several(rule.when.caller):
            if ae not in known:
                near = difflib.get_close_matches(ae.upper(), known, n=1)
                proposal = f"Did you mean {near[0]}? " if near else ""
                message = f"{ae} is not among the callers, so that rule {rule.name} gets none of it"
                advice = f"{proposal}Callers: {', '.join(known)}."
                path = ("rules", index, "when", "caller")
                yield Warned(Code.UNKNOWN_CALLER, path, message, advice)


def _unmatched_callers(config: Config, callers: tuple[Caller, ...]) -> Iterator[Warned]:
    """Warn if each rule is for certain callers, and one caller has none."""
    if not config.rules or any(rule.when.caller is None for rule in config.rules):
        return
    named = {ae for rule in config.rules for ae in several(rule.when.caller)}
    for index, caller in enumerate(callers):
        if caller.ae not in named:
            message = f"each rule is for other callers: no rule matches images of {caller.ae}"
            advice = f"Add {caller.ae} to `caller` of a rule, or remove the caller."
            yield Warned(Code.UNMATCHED_CALLER, ("callers", index), message, advice)


def _local_only(config: Config, callers: tuple[Caller, ...]) -> Iterator[Warned]:
    remote = [caller for caller in callers if caller.host and not _is_loopback(caller.host)]
    if remote and _is_loopback(config.node.host):
        message = f"{config.node.host} is reached from this machine alone, not by {remote[0].ae}"
        advice = "Write 0.0.0.0, or the address of this machine in the hospital's network."
        yield Warned(Code.LOCAL_ONLY, ("node", "host"), message, advice)


def _own_targets(config: Config) -> Iterator[Warned]:
    for name, target in config.targets.items():
        ours = config.tls.port if target.tls else config.node.port
        is_own = _is_unspecified(target.host) or _is_own(target.host, config.node.host)
        if target.port == ours and is_own:
            message = f"target {name} is this node itself ({target.host}:{target.port})"
            path, advice = "host", "Write host and port of the archive."
        elif target.ae == config.node.ae_title:
            message = f"target {name} has the AE title of this node, {target.ae}"
            path, advice = "ae", "Write the AE title at which the archive receives."
        else:
            continue
        yield Warned(Code.OWN_TARGET, ("targets", name, path), message, advice)


def _repeated_targets(config: Config) -> Iterator[Warned]:
    """Warn about one peer under two names; two encodings for one peer are a choice."""
    known: dict[tuple[object, ...], str] = {}
    for name, target in config.targets.items():
        first = known.setdefault(_peer(target), name)
        if first != name:
            where = f"{target.ae} at {target.host}:{target.port}"
            message = f"targets {first} and {name} are the same peer: {where}"
            advice = f"Remove {name}, or correct its AE title or address."
            yield Warned(Code.REPEATED_TARGET, ("targets", name), message, advice)


def _peer(target: Target) -> tuple[object, ...]:
    host = "localhost" if _is_loopback(target.host) else target.host.lower().removesuffix(".")
    return target.ae, host, target.port, target.seg


def _is_loopback(host: str) -> bool:
    if host.lower() in LOCAL_NAMES:
        return True
    return "/" not in host and is_network(host) and ipaddress.ip_address(host).is_loopback


def _is_unspecified(host: str) -> bool:
    """Return whether `host` is 0.0.0.0 or ::, which is an address for listening only."""
    return "/" not in host and is_network(host) and ipaddress.ip_address(host).is_unspecified


def _is_own(host: str, listening: str) -> bool:
    """Return whether a connection to `host` reaches an address on which the node listens."""
    if host.lower() == listening.lower():
        return True
    if not is_network(listening) or not ipaddress.ip_address(listening).is_unspecified:
        return _is_loopback(host) and _is_loopback(listening)
    names = (*LOCAL_NAMES, socket.gethostname().lower())
    return host.lower() in names or (is_network(host) and _is_local_address(host))


def _is_local_address(address: str) -> bool:
    """Return whether this machine has `address`: only then a socket can be bound to it."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((address, 0))
    except OSError:
        return False
    return True
