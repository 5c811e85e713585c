"""Write the notice of a series that cannot be segmented, for the targets that request one."""

import datetime
import logging
from pathlib import Path

from pydicom.dataset import Dataset

from node import durable
from node.errors import NotAnImage, Unsuitable
from node.notice import encode_notice
from node.pipeline import Stopwatch
from node.process import failed
from node.segmenter.files import described, unpublished
from node.segmenter.messages import SegmentRequest, Unsuited
from node.series import read_instance

NOTICE = "notice.dcm"  # in the folder of a result
log = logging.getLogger("node.segmenter.child")


def with_notice(request: SegmentRequest, error: Unsuitable) -> Unsuited | None:
    """Write the notice that is requested; return None if there is none, or it fails."""
    if not request.notice:
        return None
    try:
        source = _readable(request)
        notice = encode_notice(
            source,
            "/".join(Path(request.package).parts[-2:]),
            error.message,
            inputs_digest=request.inputs_digest,
            created=datetime.datetime.fromtimestamp(request.created_at, datetime.UTC),
            identity=request.identity,
        )
        final = Path(request.outbox, NOTICE)
        durable.make_folder(final.parent)
        with unpublished(final, notice, Stopwatch()):
            pass
    except Exception:  # the reason is in the history all the same
        log.exception("no notice of this series", extra={"job": request.job})
        return None
    return Unsuited(reason=failed(error), notice=described(final, "notice", None, notice))


def _readable(request: SegmentRequest) -> Dataset:
    """Return the header of the first image that can be read.

    Raises:
        NotAnImage: none can be.
    """
    *others, last = (Path(request.folder, name) for name in request.files)
    for path in others:
        try:
            return read_instance(path)[0]
        except NotAnImage:
            continue
    return read_instance(last)[0]
