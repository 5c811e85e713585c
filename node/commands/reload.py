"""`segnode reload`: let the running node use a changed configuration."""

import argparse
import time
from pathlib import Path

from node.commands.exits import OK
from node.commands.options import add_config, add_json, print_json, who
from node.commands.terminal import say
from node.config import in_use
from node.conversion import spelled

WAIT_S = 10.0  # a process that works takes the configuration afterwards
POLL_S = 0.1


def add_to(commands: argparse._SubParsersAction) -> None:  # type: ignore[type-arg]
    """Add `reload` to the command line."""
    command = commands.add_parser(
        "reload",
        help="let the running node use the changed configuration",
        description="Check the whole configuration file, then let every process of the running "
        "node use it. No association is dropped and no port is closed. If anything is wrong, or a "
        "changed key needs a restart, nothing changes.",
        epilog="exit status: 0 the configuration is accepted; 69 no node runs with this data "
        "folder; 78 the file or a package is wrong, or a key needs a restart",
    )
    add_config(command)
    add_json(command)
    command.set_defaults(run=_reload)


def _reload(chosen: argparse.Namespace) -> int:
    from node.reload import reload

    reloaded = reload(chosen.config, time.time(), who())
    data = reloaded.config.data.dir
    off = set() if reloaded.config.is_monitored else {"monitor"}
    late = _late(data, reloaded.digest, off)
    if chosen.json:
        print_json(
            {
                "digest": reloaded.digest,
                "changed": reloaded.changed,
                "stranded": reloaded.stranded,
                "warnings": [
                    {
                        "code": one.code,
                        "key": spelled(one.path),
                        "line": line,
                        "message": one.message,
                        "advice": one.advice,
                    }
                    for one, line in reloaded.warnings
                ],
                "late": late,
            }
        )
        return OK
    say(f"accepted configuration {reloaded.digest}")
    say(f"changed: {', '.join(reloaded.changed) or 'no value'}")
    for one, line in reloaded.warnings:
        say(f"warn  {spelled(one.path)} (line {line}): {one.message} [{one.code}]")
        say(f"      {one.advice}")
    for name, count in reloaded.stranded.items():
        say(
            f"{count} unfinished for {name}, which is no longer a target: they fail with a reason. "
            f"Add {name} again, reload, then `segnode jobs retry` each."
        )
    for name in late:
        say(f"the {name} still works with the earlier configuration; `segnode status` shows it")
    return OK


def _late(data: Path, digest: str, off: set[str]) -> list[str]:
    """Wait for the processes, except those in `off`; return the late ones after `WAIT_S`."""
    until = time.monotonic() + WAIT_S
    while True:
        used = in_use(data)
        late = [name for name in used if name not in off and used[name].digest != digest]
        if not late or time.monotonic() > until:
            return late
        time.sleep(POLL_S)
