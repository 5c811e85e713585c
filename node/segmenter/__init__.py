"""Segmentation jobs, each done by a child process that may hang or die without touching anyone.

Promises: a job is committed only after its objects are verified, durable and digested.
Leaves to `sender`: delivery. Leaves to `housekeeping`: leases of segmenters that went away.
"""

from node.segmenter.loop import identity_of, run
from node.segmenter.measuring import Candidate, candidates, measure_now
from node.segmenter.messages import Task
from node.segmenter.work import Made, work

__all__ = [
    "Candidate",
    "Made",
    "Task",
    "candidates",
    "identity_of",
    "measure_now",
    "run",
    "work",
]
