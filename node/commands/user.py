"""`segnode user`: the people who may log in to the page."""

import argparse
import getpass
import sys

from node.commands.exits import OK
from node.commands.options import add_config, load_config
from node.errors import Misconfigured


def add_to(commands: argparse._SubParsersAction) -> None:  # type: ignore[type-arg]
    """Add `user` to the command line."""
    command = commands.add_parser(
        "user",
        help="set or remove the password of a user of the page",
        description="Set the password of a user of the page, in the file page.users of the "
        "configuration. The password is asked twice; from a pipe, its first line is read.",
    )
    command.add_argument("name", help="letters, digits, dots, @, _ or -")
    command.add_argument("--remove", action="store_true", help="remove the user")
    add_config(command)
    command.set_defaults(run=_user)


def _user(chosen: argparse.Namespace) -> int:
    from node.web.users import remove_user, set_password  # late: no other command needs it

    file = load_config(chosen).page.users
    if file is None:
        message = f"{chosen.config} names no file of users"
        raise Misconfigured(message, advice="Write `users: page-users` under `page`, then repeat.")
    if chosen.remove:
        remove_user(file, chosen.name)
        print(f"removed {chosen.name} from {file}")
    else:
        set_password(file, chosen.name, _password())
        print(f"wrote the password of {chosen.name} to {file}")
    return OK


def _password() -> str:
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\n")
    first, second = getpass.getpass("password: "), getpass.getpass("again: ")
    if first != second:
        message = "the two passwords differ"
        raise Misconfigured(message, advice="Nothing was changed: run the command again.")
    return first
