"""Time and memory of each size and engine on this machine, and the choice for a series.

Promises: a measurement is used only for the package, engine version, CPU and number of threads that
it was made with; an engine that does not reproduce the reference case is never chosen.
Leaves to `node.footprint`: the measurement. Leaves to `node.arrival`: when to choose.
"""

from node.measured.choose import Choice, choose, fastest, largest_mb
from node.measured.cost import Cost, Workload, estimate, workload
from node.measured.decide import (
    Candidate,
    candidates,
    size_until_measured,
    suggestion,
    with_size,
)
from node.measured.store import Host, Measurement, read, this_host, write

__all__ = [
    "Candidate",
    "Choice",
    "Cost",
    "Host",
    "Measurement",
    "Workload",
    "candidates",
    "choose",
    "estimate",
    "fastest",
    "largest_mb",
    "read",
    "size_until_measured",
    "suggestion",
    "this_host",
    "with_size",
    "workload",
    "write",
]
