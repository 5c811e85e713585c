"""`segnode models choose`: accept the size of a rule with `size: auto`."""

import argparse
import time
from dataclasses import replace

from node import measured, queue, schema
from node.commands.exits import OK
from node.commands.options import add_config, load_running, who
from node.commands.terminal import say
from node.commands.verify import reference_checks
from node.config import AUTO
from node.errors import Misconfigured, NotFound
from node.package import SIZE_NAMES, uses
from node.queue import ChosenSize
from node.rule_states import check_rule


def add_to(actions: argparse._SubParsersAction) -> None:  # type: ignore[type-arg]
    """Add `models choose` to the command line."""
    choose = actions.add_parser(
        "choose",
        help="accept the size of a rule with `size: auto`",
        description="Without SIZE, accept the most accurate size that fits deadline and memory by "
        "the measurements of this machine. The size stays until the next `choose`.",
    )
    choose.add_argument("rule", help="name of a rule with `size: auto`")
    choose.add_argument("size", nargs="?", choices=SIZE_NAMES, help="a size of its package")
    add_config(choose)
    choose.set_defaults(run=_choose)


def _choose(chosen: argparse.Namespace) -> int:
    config = load_running(chosen)
    check_rule(config, chosen.rule)
    use = next((one for one in uses(config) if one.rule == chosen.rule), None)
    if use is None or use.size != AUTO:
        size = "no model" if use is None else f"size {use.size}"
        message = f"rule {chosen.rule} uses {size}, as configured"
        raise Misconfigured(message, advice="Only the size of a rule with `size: auto` is chosen.")
    why = "a person chose it"
    if chosen.size is not None:
        use.package.size(chosen.size)
        size = chosen.size
        for _ in reference_checks(config, [replace(use, size=size)]):
            pass
    else:
        host = measured.this_host(config.limits.threads)
        best = measured.suggestion(use, measured.read(config.data, host), host)
        if best is None:
            message = f"not every size of {use.package.name} is measured on this machine"
            raise NotFound(message, advice="Run `segnode models bench`, or name a size.")
        size, why = best.size, f"a person accepted it: {best.why}"
    engine = schema.open_configured(config.data)
    before = queue.sizes(engine).get(use.key)
    queue.choose_size(
        engine,
        ChosenSize(
            rule=use.rule, task=use.package.manifest.task, size=size, at=time.time(), by=who(),
            why=why,
        ),
    )  # fmt: skip
    earlier = before.size if before else measured.size_until_measured(use.package.manifest)
    say(f"rule {chosen.rule}: size {size} from now on (before: {earlier}); {why}")
    return OK
