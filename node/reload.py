"""Let a running node use a changed configuration, for `segnode reload` and the signal SIGHUP."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from node import queue, schema
from node.config import (
    Accepted,
    Config,
    LineOf,
    accept,
    accepted_in,
    changed_keys,
    load_text_with_lines,
    needs_restart,
    text_of,
)
from node.config.warnings import Warned, warnings_of
from node.conversion import KeyPath, spelled
from node.errors import Misconfigured, NotRunning
from node.package import uses
from node.status import listens

RELOAD = "reload"  # event
log = logging.getLogger("node.reload")


@dataclass(frozen=True, kw_only=True)
class Reloaded:
    """What a reload changed."""

    config: Config
    digest: str
    changed: tuple[str, ...]  # keys
    stranded: dict[str, int]  # target that is no longer configured -> unfinished jobs for it
    warnings: tuple[tuple[Warned, int], ...]  # what is legal and probably wrong, with its line


def reload(file: Path, now: float, by: str, data: Path | None = None) -> Reloaded:
    """Check the whole configuration file, record the change, and let all processes use it.

    If anything is wrong, nothing changes. `data` is the data folder of the running node, if it is
    known; else it is the one that the file names.

    Raises:
        Misconfigured: the file or a package is wrong, or a changed key needs a restart.
        NotRunning: no node runs with that data folder.
    """
    text = text_of(file)
    config, line_of = load_text_with_lines(text, str(file), file.parent)
    data = data or config.data.dir
    before = accepted_in(data)
    if before is None or not listens(data / "inbox"):
        message = f"no node runs with the data folder {data}"
        advice = (
            "`segnode serve` reads the file when it starts. A change of data.dir needs a start."
        )
        raise NotRunning(message, advice=advice)
    earlier = before.config()
    keys = changed_keys(earlier, config)
    _refuse_fixed(file, keys, line_of)
    uses(config)
    accepted = Accepted(text=text, file=str(file.resolve()), at=now, by=by)
    engine = schema.open_configured(config.data)
    stranded = _stranded(queue.unfinished_by_target(engine), earlier, config)
    changed = tuple(spelled(key) for key in keys)
    queue.add_note(engine, RELOAD, _detail(accepted.digest, changed, stranded), now, by=by)
    engine.dispose()
    accept(data, accepted)
    return Reloaded(
        config=config,
        digest=accepted.digest,
        changed=changed,
        stranded=stranded,
        warnings=tuple((one, line_of(one.path)) for one in warnings_of(config)),
    )


def _refuse_fixed(file: Path, keys: Sequence[KeyPath], line_of: LineOf) -> None:
    fixed = [f"{spelled(key)} (line {line_of(key)})" for key in keys if needs_restart(key)]
    if fixed:
        message = f"{file}: a change of {', '.join(fixed)} needs a restart; nothing was changed"
        advice = "Restart `segnode serve`, or undo this change and reload the others."
        raise Misconfigured(message, advice=advice)


def _stranded(unfinished: dict[str, int], before: Config, after: Config) -> dict[str, int]:
    """Return the unfinished jobs for targets that only the earlier configuration has."""
    removed = before.targets.keys() - after.targets.keys()
    return {name: unfinished[name] for name in sorted(removed) if unfinished.get(name)}


def _detail(digest: str, changed: Sequence[str], stranded: dict[str, int]) -> str:
    parts = [f"configuration {digest}: {', '.join(changed) or 'no value'} changed"]
    parts += [
        f"{count} unfinished for the removed target {name}" for name, count in stranded.items()
    ]
    return "; ".join(parts)
