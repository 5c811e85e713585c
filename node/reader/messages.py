"""The messages between housekeeping and the reader process; `node.pipes` carries them."""

import msgspec

from node.arrival import Problem, SeriesFindings
from node.pipes import Ready
from node.process import Failed

OUT_OF_MEMORY = 3  # exit status of the reader: an allocation failed at the limit
MOST_MESSAGE_BYTES = 1 << 20  # of an answer; the longest possible findings have some kilobytes


class SurveyRequest(msgspec.Struct, frozen=True, tag="survey", kw_only=True):
    """The files of one series to survey."""

    folder: str
    files: tuple[str, ...]
    part: int | None = None  # survey this part of the slices alone, counted from 1
    cpu_s: float  # processor time for this request; the kernel ends the reader after it


class CompareRequest(msgspec.Struct, frozen=True, tag="compare", kw_only=True):
    """Two files with one SOP Instance UID: do they hold the same image?"""

    one: str
    other: str
    cpu_s: float


class IdentifyRequest(msgspec.Struct, frozen=True, tag="identify", kw_only=True):
    """Files of which the series are to be found."""

    folder: str
    files: tuple[str, ...]
    cpu_s: float


class FileIdentity(msgspec.Struct, frozen=True):
    """The UIDs of one file, or why it is no readable DICOM instance."""

    study_uid: str = ""
    series_uid: str = ""
    sop_instance_uid: str = ""
    problem: str = ""


class Identified(msgspec.Struct, frozen=True, tag="identified"):
    """The identity of each file, in the order of the request."""

    files: tuple[FileIdentity, ...]


class SeriesReading(msgspec.Struct, frozen=True, tag="surveyed"):
    """The findings of the readable files, and the problem of the first unreadable one."""

    findings: SeriesFindings | None = None  # None: no file is readable, or there is no such part
    problem: Problem | None = None
    in_part: tuple[int, ...] = ()  # of a requested part: the indexes of its files


class Compared(msgspec.Struct, frozen=True, tag="compared"):
    """The result of a comparison."""

    is_same: bool


class DiskFailed(msgspec.Struct, frozen=True, tag="disk-failed"):
    """The disk or a share failed; another try may work."""

    errno: int


Message = Ready | SeriesReading | Compared | Identified | DiskFailed | Failed
Request = SurveyRequest | CompareRequest | IdentifyRequest

read_message = msgspec.json.Decoder(Message).decode
read_request = msgspec.json.Decoder(Request).decode
