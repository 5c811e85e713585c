"""The process that reads received images: `python -m node.reader.child LIMITS`.

It reads requests as lines from its standard input and writes messages to its standard output. It
ends when its input ends, because the requesting process is gone.
"""

import logging
import math
import os
import resource
import sys
import time
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path

import msgspec

from node import logs, pipes
from node.arrival import findings_of, problem_of
from node.arrival.findings import MOST_TEXT
from node.dicom.uids import is_dotted_uid
from node.errors import Unsuitable
from node.process import ProcessLimits, failed, limit_process
from node.queue import as_node_error
from node.reader import messages
from node.reader.messages import (
    OUT_OF_MEMORY,
    Compared,
    CompareRequest,
    DiskFailed,
    FileIdentity,
    Identified,
    IdentifyRequest,
    Message,
    Request,
    SeriesReading,
    SurveyRequest,
)
from node.series import Header, parts_of, read_headers, same_image
from node.series.header import read_dataset
from node.series.values import text

MOST_HEADERS = 30_000  # remembered between requests, about 2 KB each
UID_KEYWORDS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
log = logging.getLogger("node.reader")


def main() -> None:
    """Answer requests until the requesting process is gone."""
    limits = msgspec.json.decode(sys.argv[1], type=ProcessLimits)
    output = pipes.private_output()
    limit_process(limits)
    logs.start("reader", limits.log_level)
    requests = pipes.listen(messages.read_request)
    headers = HeaderCache(MOST_HEADERS)
    pipes.send(output, pipes.Ready())
    while True:
        request = requests.get()
        _limit_cpu(request.cpu_s)
        try:
            message = _answer(request, headers)
        except MemoryError:  # the state of libraries after it is unknown
            os._exit(OUT_OF_MEMORY)
        pipes.send(output, message)


def _answer(request: Request, headers: "HeaderCache") -> Message:
    try:
        if isinstance(request, CompareRequest):
            return Compared(same_image(Path(request.one), Path(request.other)))
        if isinstance(request, IdentifyRequest):
            return Identified(tuple(_identify(request, headers)))
        return _survey(request, headers)
    except MemoryError:
        raise
    except OSError as exc:
        return DiskFailed(exc.errno or 0)
    except Exception as exc:
        log.exception("unexpected error")
        return failed(as_node_error(exc))


def _identify(request: IdentifyRequest, cache: "HeaderCache") -> Iterator[FileIdentity]:
    for name in request.files:
        try:
            headers = cache.read(Path(request.folder, name))
        except OSError as exc:
            yield FileIdentity(problem=exc.strerror or "the file cannot be read")
            continue
        if isinstance(headers, Unsuitable):
            problem = headers.message[:MOST_TEXT]
            yield FileIdentity(*_uids(Path(request.folder, name)), problem)
        else:
            one = headers[0]
            yield FileIdentity(one.study_uid, one.series_uid, one.sop_instance_uid)
    cache.trim()


def _uids(path: Path) -> tuple[str, str, str]:
    """Return the UIDs of a file with a problem; empty where they are absent too."""
    try:
        dataset = read_dataset(path)
        study, series, instance = (text(dataset, keyword) for keyword in UID_KEYWORDS)
    except (Unsuitable, OSError):
        return "", "", ""
    are_valid = all(is_dotted_uid(uid) for uid in (study, series, instance))
    return (study, series, instance) if are_valid else ("", "", "")


def _survey(request: SurveyRequest, cache: "HeaderCache") -> SeriesReading:
    """Read each file once; report the problem of the first unreadable file."""
    headers: list[Header] = []
    problem = None
    for name in request.files:
        headers_or_problem = cache.read(Path(request.folder, name))
        if isinstance(headers_or_problem, Unsuitable):
            problem = problem or headers_or_problem
        else:
            headers.extend(headers_or_problem)
    cache.trim()
    in_part: tuple[int, ...] = ()
    if request.part is not None:
        headers = dict(enumerate(parts_of(headers), 1)).get(request.part, [])
        names = {header.path.name for header in headers}
        in_part = tuple(at for at, name in enumerate(request.files) if name in names)
    return SeriesReading(
        findings_of(headers) if headers else None,
        problem_of(problem) if problem else None,
        in_part,
    )


class HeaderCache:
    """The headers of files that were read before; the content of a file never changes."""

    def __init__(self, most_headers: int) -> None:
        """Remember at most `most_headers` headers from one request to the next."""
        self._most_headers = most_headers
        self._known: OrderedDict[Path, tuple[Header, ...] | Unsuitable] = OrderedDict()
        self._size = 0

    def read(self, path: Path) -> tuple[Header, ...] | Unsuitable:
        """Return the headers of a file, or its problem.

        Raises:
            OSError: the disk fails; another try may work.
        """
        if path in self._known:
            self._known.move_to_end(path)
            return self._known[path]
        result: tuple[Header, ...] | Unsuitable
        try:
            result = read_headers(path)
        except Unsuitable as exc:
            result = exc.with_traceback(None)
        self._known[path] = result
        self._size += _size(result)
        return result

    def trim(self) -> None:
        """Forget the files that were not needed for the longest time."""
        while self._size > self._most_headers:
            _, oldest = self._known.popitem(last=False)
            self._size -= _size(oldest)


def _size(result: tuple[Header, ...] | Unsuitable) -> int:
    return 1 if isinstance(result, Unsuitable) else len(result)


def _limit_cpu(seconds: float) -> None:
    """Let the kernel end this process after so much more processor time."""
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    soft = math.ceil(time.process_time() + seconds)
    resource.setrlimit(
        resource.RLIMIT_CPU, (soft if hard == resource.RLIM_INFINITY else min(soft, hard), hard)
    )


if __name__ == "__main__":
    main()
