"""`segnode rules`: list the rules, pause one, and end a pause."""

import argparse
import time

from node import queue, schema, status
from node.commands.exits import FAILED, OK
from node.commands.options import add_config, add_json, load_config, load_running, print_json, who
from node.commands.terminal import local_time, print_table, say
from node.rule_states import LONGEST_REASON, check_rule, is_reason, rule_states


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
    if not is_reason(text):
        message = f"write one line of at most {LONGEST_REASON} characters"
        raise argparse.ArgumentTypeError(message)
    return text.strip()


def _list(chosen: argparse.Namespace) -> int:
    config = load_running(chosen)
    engine = status.open_read_only(config.data)
    rows = []
    for rule in rule_states(config, engine):
        stop = rule.pause
        since = f"by {stop.by} since {local_time(stop.at)}" if stop else ""
        rows.append((rule.name, rule.use, rule.size, since, stop.because if stop else ""))
    if chosen.json:
        keys = ("rule", "use", "size", "paused", "because")
        print_json([dict(zip(keys, row, strict=True)) for row in rows])
    else:
        print_table(("rule", "use", "size", "paused", "because"), rows)
    return OK


def _pause(chosen: argparse.Namespace) -> int:
    config = load_running(chosen)
    check_rule(config, chosen.name)
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
