"""Segmentation jobs, each done by a child process that may hang or die without touching anyone.

Promises: a job is committed only after its objects are verified, durable and digested.
Leaves to `sender`: delivery. Leaves to `housekeeping`: leases of segmenters that went away.
"""

from node.segmenter.loop import identity_of, run
from node.segmenter.measuring import Candidate, candidates, measure_now
from node.segmenter.messages import SegmentRequest
from node.segmenter.work import SegmentedSeries, segment_series

__all__ = [
    "Candidate",
    "SegmentRequest",
    "SegmentedSeries",
    "candidates",
    "identity_of",
    "measure_now",
    "run",
    "segment_series",
]
