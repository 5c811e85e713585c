"""What each size costs with each engine on this machine, and which of them a series gets.

Promises: a measurement counts only for the package, engine version, CPU and number of threads that
it was made with; engines that do not reproduce the reference case are never chosen.
Leaves to `node.segmenter`: measuring. Leaves to `node.arrival`: when to choose.
"""

from node.measured.choose import Choice, choose, fastest, largest_mb
from node.measured.cost import Cost, Workload, estimate, workload
from node.measured.store import Host, Measurement, here, known, write

__all__ = [
    "Choice",
    "Cost",
    "Host",
    "Measurement",
    "Workload",
    "choose",
    "estimate",
    "fastest",
    "here",
    "known",
    "largest_mb",
    "workload",
    "write",
]
