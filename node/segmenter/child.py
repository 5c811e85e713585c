"""The process that segments: `python -m node.segmenter.child LIMITS`.

It imports everything, reports that it is ready, reads requests as lines from its standard input and
writes messages to its standard output. It ends when its input ends, because the segmenter is gone.
"""

import logging
import sys
import time
from typing import BinaryIO

import msgspec

from node import engines, logs, pipes
from node.errors import NodeError
from node.process import (
    ProcessLimits,
    as_child_error,
    failed,
    limit_process,
    peak_mb,
    reset_peak,
)
from node.segmenter import messages
from node.segmenter.messages import (
    Message,
    RehearsalRequest,
    SegmentRequest,
    Stage,
)
from node.segmenter.rehearse import rehearse
from node.segmenter.work import segment_series

REPORT_EVERY_S = 0.5
log = logging.getLogger("node.segmenter.child")


def main() -> None:
    """Answer requests until the segmenter is gone."""
    limits = msgspec.json.decode(sys.argv[1], type=ProcessLimits)
    output = pipes.private_output()
    limit_process(limits)
    logs.start("segmenter-child", limits.log_level)
    for engine in limits.libraries:
        engines.import_library(engine)
    requests = pipes.listen(messages.read_request)
    pipes.send(output, pipes.Ready())
    while True:
        request = requests.get()
        if isinstance(request, RehearsalRequest):
            pipes.send(output, rehearse(request, limits.threads))
        else:
            pipes.send(output, _answer(request, limits, output))


def _answer(request: SegmentRequest, limits: ProcessLimits, output: BinaryIO) -> Message:
    """Segment one series; return an error as a message."""
    progress = _Progress(output)
    reset_peak()
    try:
        done = segment_series(request, limits.threads, progress).done
        return msgspec.structs.replace(done, peak_mb=peak_mb())
    except Exception as exc:
        if not isinstance(exc, NodeError):
            log.exception("unexpected error", extra={"job": request.job})
        return failed(as_child_error(exc))


class _Progress:
    """Sends the current stage, at most every `REPORT_EVERY_S` within one stage."""

    def __init__(self, output: BinaryIO) -> None:
        self._output = output
        self._stage, self._at = "", 0.0

    def __call__(self, stage: str, share: float) -> None:
        now = time.monotonic()
        if stage != self._stage or now - self._at > REPORT_EVERY_S:
            self._stage, self._at = stage, now
            pipes.send(self._output, Stage(stage, share))


if __name__ == "__main__":
    main()
