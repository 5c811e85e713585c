"""Segment jobs in a child process, whose hang or crash ends only its own job.

Promises: a job is committed only after its objects are verified, durable and hashed.
Leaves to `sender`: delivery. Leaves to `housekeeping`: leases of segmenters that disappeared.
"""

from node.segmenter.loop import run
from node.segmenter.measuring import measure_now
from node.segmenter.messages import SegmentRequest
from node.segmenter.requests import identity_of
from node.segmenter.work import SegmentedSeries, segment_series

__all__ = [
    "SegmentRequest",
    "SegmentedSeries",
    "identity_of",
    "measure_now",
    "run",
    "segment_series",
]
