"""`segnode rules`: list the rules, pause one, and end a pause."""

import argparse
import time
from collections.abc import Mapping

from node import queue, schema, status
from node.commands.exits import FAILED, OK
from node.commands.options import add_config, add_json, load_config, print_json, who
from node.commands.terminal import local_time, print_table, say
from node.config import AUTO, Config, Rule
from node.errors import NotFound

LONGEST_REASON = 200  # characters


def add_to(commands: argparse._SubParsersAction) -> None:  # type: ignore[type-arg]
    """Add `rules` to the command line."""
    rules = commands.add_parser("rules", help="list the rules, pause or resume one")
    actions = rules.add_subparsers(dest="action", metavar="ACTION", required=True)
    listed = actions.add_parser("list", help="each rule with its package, size and pause")
    listed.set_defaults(run=_list)
    pause = actions.add_parser(
        "pause",
        help="let the series of a rule wait",
        description="Series that match the rule from now on wait in the inbox, and are planned "
        "after `segnode rules resume NAME`. Jobs that are queued go on.",
    )
    pause.add_argument("--because", default="", type=_reason, metavar="TEXT", help="the reason")
    pause.set_defaults(run=_pause)
    resume = actions.add_parser("resume", help="plan the series that wait for a paused rule")
    resume.set_defaults(run=_resume)
    for action in (pause, resume):
        action.add_argument("name", help="name of the rule")
    for action in (listed, pause, resume):
        add_config(action)
    add_json(listed)


def _reason(text: str) -> str:
    if not text.isprintable() or len(text) > LONGEST_REASON:
        message = f"write one line of at most {LONGEST_REASON} characters"
        raise argparse.ArgumentTypeError(message)
    return text.strip()


def _list(chosen: argparse.Namespace) -> int:
    config = load_config(chosen)
    engine = status.open_read_only(config.data)
    paused, sizes = queue.paused(engine), queue.sizes(engine)
    rows = []
    for rule in config.rules:
        size = _size(rule, config, sizes)
        stop = paused.get(rule.name)
        since = f"by {stop.by} since {local_time(stop.at)}" if stop else ""
        rows.append((rule.name, rule.use, size, since, stop.because if stop else ""))
    if chosen.json:
        keys = ("rule", "use", "size", "paused", "because")
        print_json([dict(zip(keys, row, strict=True)) for row in rows])
    else:
        print_table(("rule", "use", "size", "paused", "because"), rows)
    return OK


def _size(rule: Rule, config: Config, sizes: Mapping[tuple[str, str], queue.ChosenSize]) -> str:
    if rule.use == "none":
        return ""
    size = rule.size or config.model.size
    if size != AUTO:
        return size
    key = rule.name, rule.use.partition("/")[0]
    return f"auto: {sizes[key].size}" if key in sizes else "auto: not measured"


def _pause(chosen: argparse.Namespace) -> int:
    config = load_config(chosen)
    known_rule(config, chosen.name)
    engine = schema.open_configured(config.data)
    if not queue.pause_rule(engine, chosen.name, chosen.because, time.time(), who()):
        say(f"rule {chosen.name} is paused already")
        return OK
    say(f"rule {chosen.name} is paused; `segnode rules resume {chosen.name}` ends the pause")
    return OK


def _resume(chosen: argparse.Namespace) -> int:
    engine = schema.open_configured(load_config(chosen).data)
    if not queue.resume_rule(engine, chosen.name, time.time(), who()):
        say(f"rule {chosen.name} is not paused")
        return FAILED
    say(f"rule {chosen.name} works again; the series that waited are planned now")
    return OK


def known_rule(config: Config, name: str) -> None:
    """Check that the configuration has a rule.

    Raises:
        NotFound: it has none of this name.
    """
    names = [rule.name for rule in config.rules]
    if name not in names:
        message = f"no rule {name!r}"
        raise NotFound(message, advice=f"Rules: {', '.join(names) or 'none'}.")
