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
from node.errors import NodeError, Unsuitable
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
    RehearsalRequest,
    SegmentRequest,
    Stage,
)
from node.segmenter.notices import with_notice
from node.segmenter.rehearse import rehearse
from node.segmenter.work import segment_series, write_preview

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
            # the segmenter sends one rehearsal at a time: what waits meanwhile is a study
            pipes.send(output, rehearse(request, limits.threads, requests.empty))
        else:
            _answer(request, limits, output)


def _answer(request: SegmentRequest, limits: ProcessLimits, output: BinaryIO) -> None:
    """Segment one series and send the result, then make its picture; send an error as a message."""
    progress = _Progress(output)
    reset_peak()
    try:
        result = segment_series(request, limits.threads, progress)
    except Exception as exc:
        if not isinstance(exc, NodeError):
            log.exception("unexpected error", extra={"job": request.job})
        unsuited = with_notice(request, exc) if isinstance(exc, Unsuitable) else None
        pipes.send(output, unsuited or failed(as_child_error(exc)))
        return
    pipes.send(output, msgspec.structs.replace(result.done, peak_mb=peak_mb()))
    try:  # after the result, so that its delivery does not wait
        write_preview(request, result)
    except Exception:  # a picture is not worth a job
        log.exception("no picture of this result", extra={"job": request.job})


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
