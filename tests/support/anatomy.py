"""Run a released package on a series, and measure where the structures lie in the patient."""

from pathlib import Path

import numpy as np

from node import seg, series
from node.commands.offline import OfflineJob, run_job
from node.commands.terminal import Progress
from node.imaging import Labels
from node.package import Package, load, models_in, resolve

MODELS = Path(__file__).parents[2] / "models"


def released(task: str) -> Package:
    """Return the newest released package of a task."""
    return resolve(task, [load(path) for path in models_in(MODELS)])


def segmented(files: tuple[Path, ...], package: Package, size: str, out: Path) -> Labels:
    """Segment, and read the SEG back from the disk."""
    result = run_job(OfflineJob(files, package, size, out, threads=1), Progress(quiet=True))
    labels = seg.read_labels(out / result.done.objects[0].name, series.read(files))
    np.testing.assert_array_equal(labels.array, result.labels.array)
    return labels


def centres_mm(labels: Labels, package: Package) -> dict[str, np.ndarray]:
    """Return the centre of each structure: x to the left, y to the back, z to the head."""
    centres = {}
    for part in package.manifest.segments:
        voxels = np.argwhere(labels.array == part.number)
        if len(voxels):
            centres[part.label] = (labels.grid.affine @ np.append(voxels.mean(0), 1))[:3]
    return centres
