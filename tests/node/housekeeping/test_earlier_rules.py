"""The history keeps why the rules before the deciding one did not match."""

import msgspec

from node import queue
from node.config import load_text
from tests.support.housekeeping import SETTLED, Site
from tests.support.phantoms import Scan
from tests.support.received import receive
from tests.support.rows import T0


def test_the_reasons_of_earlier_rules_join_the_history(site: Site, head: Scan) -> None:
    rules = "rules:\n- {name: lung, when: {modality: CT}, use: none}\n- {name: rest, use: none}"
    changed = msgspec.structs.replace(site.config, rules=load_text(rules).rules)
    receive(site.inbox, head.paths, T0)
    assert site.fresh(changed).run(SETTLED) == 1
    details = [e.detail for e in queue.events_of(site.engine) if e.event == queue.EARLIER_RULES]
    assert details == ["lung: modality is MR, not CT"]
