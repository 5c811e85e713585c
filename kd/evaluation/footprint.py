"""The child process of `kd validate`: `python -m kd.evaluation.footprint FOLDER SIZE THREADS`.

It imports what the node imports and nothing else, so that its memory is the node's. It takes an
unfinished package as well: digests are not its business.
"""

import json
import statistics
import sys
import time
from pathlib import Path

import msgspec

from node.imaging.nifti import read_volume
from node.package import Manifest, Package
from node.pipeline import open_student, segment

REPEATS = 5


def main(folder: Path, size: str, threads: int) -> None:
    """Segment the reference case several times; write seconds and peak memory as JSON."""
    manifest = msgspec.json.decode((folder / "manifest.json").read_bytes(), type=Manifest)
    package = Package(manifest, folder, "")
    student = open_student(package, size, threads)
    image = read_volume(folder / manifest.reference.image)
    seconds = []
    for _ in range(REPEATS):
        begun = time.perf_counter()
        segment(image, package, student)
        seconds.append(time.perf_counter() - begun)
    measured = {
        "seconds": statistics.median(seconds),
        "threads": threads,
        "peak_mb": _peak_mb(),
    }
    sys.stdout.write(json.dumps(measured))


def _peak_mb() -> float:
    """Return the largest resident memory; ru_maxrss would count the parent's before exec."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return float("nan")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
