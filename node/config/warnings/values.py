"""Warn about times and sizes that defeat their purpose."""

from collections.abc import Iterator

from node.config.structs import AUTO, Config, ModelConfig
from node.config.warnings.code import Code, Warned
from node.conversion import KeyPath

MINUTE_S, HOUR_S, DAY_S = 60.0, 3600.0, 86400.0
SHORTEST_QUIET_S = 1.0
SHORTEST_SEGMENTATION_S = 1.0
SHORTEST_DEADLINE_S = 0.01  # any network takes longer; measurements are compared in `commands`
LONGEST_QUIET_S = HOUR_S
LEAST_MEMORY_BYTES = 256 << 20  # the libraries alone take more
LEAST_INSTANCE_BYTES = 1 << 20  # an uncompressed CT slice has half of it


def warnings_of(config: Config) -> Iterator[Warned]:
    """Yield the warnings about times and sizes."""
    yield from _times(config)
    yield from _sizes(config)
    yield from _deadlines(config)


def _times(config: Config) -> Iterator[Warned]:
    keep, complete = config.data.keep, config.complete
    short: list[tuple[KeyPath, float, float, str]] = [
        (("complete", "quiet"), complete.quiet, SHORTEST_QUIET_S,
         "a series counts as complete while its images still arrive"),
        (("limits", "time"), config.limits.time, SHORTEST_SEGMENTATION_S,
         "every segmentation is stopped before it ends"),
        (("data", "keep", "sources"), keep.sources, MINUTE_S,
         "images are deleted at once; nothing can be segmented again"),
        (("data", "keep", "results"), keep.results, MINUTE_S,
         "results are deleted at once; none can be sent again"),
        (("data", "keep", "failed"), keep.failed, MINUTE_S,
         "images that need a person are deleted before anybody looks at them"),
        *((("targets", name, "give_up_after"), target.give_up_after, MINUTE_S,
           "a delivery fails for good when the target is away for a moment")
          for name, target in config.targets.items()),
    ]  # fmt: skip
    for path, value, least, effect in short:
        if value < least:
            message = f"{value:g} s is very short: {effect}"
            yield Warned(Code.SHORT_TIME, path, message, f"Write at least `{least:g} s`.")
    if complete.quiet > LONGEST_QUIET_S:
        message = f"a series with a gap waits {complete.quiet / HOUR_S:.3g} h before it is planned"
        yield Warned(Code.LONG_TIME, ("complete", "quiet"), message, "Write some minutes at most.")
    if complete.settle > complete.quiet >= SHORTEST_QUIET_S:
        message = "settle is longer than quiet: complete series wait longer than incomplete ones"
        advice = "Write a shorter time than `quiet`."
        yield Warned(Code.LONG_TIME, ("complete", "settle"), message, advice)
    if config.limits.time > DAY_S:
        message = (
            f"a segmentation that hangs blocks all others for {config.limits.time / DAY_S:.3g} d"
        )
        yield Warned(Code.LONG_TIME, ("limits", "time"), message, "Write some minutes.")


def _sizes(config: Config) -> Iterator[Warned]:
    limits = config.limits
    small: list[tuple[KeyPath, int, int, str]] = [
        (("limits", "memory"), limits.memory, LEAST_MEMORY_BYTES, "no model runs with so little"),
        (("node", "largest_instance"), config.node.largest_instance, LEAST_INSTANCE_BYTES,
         "ordinary images are rejected"),
        (("data", "stop_accepting_below"), config.data.stop_accepting_below, 1,
         "the node fills the disk"),
    ]  # fmt: skip
    for path, value, least, effect in small:
        if value < least:
            message = f"{value} bytes are very few: {effect}"
            advice = f"Write at least `{least >> 20 or 1024} MiB`."
            yield Warned(Code.SMALL_LIMIT, path, message, advice)
    allowed: list[tuple[KeyPath, int | None]] = []
    if config.model.memory != ModelConfig().memory:  # the default is above on a small machine
        allowed = [(("model", "memory"), config.model.memory)]
    allowed += [(("rules", at, "memory"), rule.memory) for at, rule in enumerate(config.rules)]
    for path, memory in allowed:
        if memory is not None and memory > limits.memory:
            message = f"more than limits.memory, so that {limits.memory >> 20} MiB count"
            advice = "Lower it, or raise limits.memory."
            yield Warned(Code.MEMORY_ABOVE_LIMIT, path, message, advice)


def _deadlines(config: Config) -> Iterator[Warned]:
    deadlines: dict[KeyPath, float] = {}
    for index, rule in enumerate(config.rules):
        own: KeyPath = ("rules", index, "deadline")
        if rule.use != "none" and (rule.size or config.model.size) == AUTO:
            path = ("model", "deadline") if rule.deadline is None else own
            deadlines[path] = config.model.deadline if rule.deadline is None else rule.deadline
    if ("model", "deadline") not in deadlines and config.model.deadline != ModelConfig().deadline:
        message = "deadline has no effect: no rule has `size: auto`"
        advice = "Write `size: auto`, or remove deadline."
        yield Warned(Code.NO_EFFECT, ("model", "deadline"), message, advice)
    for path, deadline in deadlines.items():
        if deadline < SHORTEST_DEADLINE_S:
            message = f"no size meets {deadline:g} s, so that the fastest always runs"
            advice = "Write seconds, like `10 s`, or name a size."
            yield Warned(Code.IMPOSSIBLE_DEADLINE, path, message, advice)
        elif deadline > config.limits.time:
            message = f"longer than limits.time ({config.limits.time:g} s), which ends the process"
            yield Warned(Code.LONG_TIME, path, message, "Lower it, or raise limits.time.")
