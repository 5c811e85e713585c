"""Segment an offered series ahead of its job, and keep the result until the job comes.

Promises: a result is used only for a job that requires exactly the same; an error is forgotten,
because the job will meet it again and record it.
"""

import logging
from collections.abc import Callable

import msgspec

from node import ahead
from node.config import Config
from node.errors import NodeError
from node.segmenter.messages import Done, SegmentRequest, Stage
from node.segmenter.requests import request_for
from node.segmenter.warm import WarmChild

NO_JOB = 0  # the number in a request that no job made
MOST_REMEMBERED = 1000  # offers that were worked on; each is withdrawn within seconds
log = logging.getLogger("node.segmenter")


class WorkAhead:
    """The last result that no job has used yet."""

    def __init__(self, config: Config) -> None:
        """Start without a result."""
        self._config = config
        self._tried: dict[tuple[str, float], None] = {}  # keys of offers, the newest last
        self._result: tuple[SegmentRequest, Done] | None = None

    def step(
        self, warm: WarmChild, begin: Callable[[], None], tick: Callable[[Stage], None]
    ) -> bool:
        """Segment one offered series, if there is one; return whether there was.

        Args:
            warm: the child.
            begin: called before the work begins.
            tick: as for `WarmChild.segment`.
        """
        for one in ahead.offers(self._config.data.dir):
            key = (one.dedup_key, one.payload.created_at)
            if key in self._tried:
                continue
            self._tried[key] = None
            while len(self._tried) > MOST_REMEMBERED:
                self._tried.pop(next(iter(self._tried)))
            begin()
            request = request_for(self._config, NO_JOB, one.dedup_key, one.payload)
            try:
                done = warm.segment(request, tick)
            except NodeError as error:
                log.info("work ahead of a job failed: %s", error, extra={"code": error.code})
            else:
                self._result = (request, done) if isinstance(done, Done) else None
            return True
        return False

    def take(self, request: SegmentRequest) -> Done | None:
        """Return the result of the same request, once; None: the job must be segmented."""
        if self._result is None:
            return None
        own, done = self._result
        if msgspec.structs.replace(own, job=request.job) != request:
            return None
        self._result = None
        return done
