"""Time one case from a DICOM folder to a verified SEG, with every size and engine, and nnU-Net.

    python benchmarks/pipeline.py brain-mr [--series FOLDER] [--rounds 3] [--threads 1 2] [--write]

The series is the package's reference image as DICOM, or a folder of yours. Each run is a separate
process. The rows take turns, so that a noisy minute affects all of them; the table has medians.
Only engines that reproduce the reference case have a row: the node runs no other. `--write`
replaces the table in docs/reference/performance.md. `make setup` makes an interpreter for nnU-Net,
which needs minutes for a whole head: `--nnunet-patches 1` computes one patch and extrapolates.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import bars
import page
import peak

from node import series
from node.engines import ONNXRUNTIME
from node.imaging import Volume, nifti
from node.imaging.orient import orient
from node.imaging.patches import starts
from node.imaging.resample import regrid, resample
from node.package import Package, load, resolve
from node.package.folder import models_in
from node.series.compose import Labelling, compose

CASE = "case.nii.gz"
DEFAULTS = "nnU-Net's predictor, its defaults"
HEAD = (
    "what",
    "threads",
    "seconds",
    "against nnU-Net",
    "against the teacher",
    "peak MB",
    "network's share of peak",
    "by stage, seconds",
)


@dataclass
class Row:
    """One way to segment the case, and the time and memory of its runs."""

    name: str
    threads: int
    command: list[str]
    engine: str = ""  # empty: nnU-Net
    gflop: float = 0.0  # of the network on the whole case
    wall_s: list[float] = field(default_factory=list)
    peak_mb: list[float] = field(default_factory=list)
    stages_s: list[dict[str, float]] = field(default_factory=list)
    is_estimated: bool = False

    def run(self) -> None:
        """Run once more in a separate process."""
        begin = time.perf_counter()
        process = subprocess.Popen(
            self.command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=os.environ | _threads(self.threads),
        )
        out, err = process.stdout, process.stderr
        assert out is not None
        assert err is not None
        output, errors = out.read().decode(), err.read().decode()
        _, status, usage = os.wait4(process.pid, 0)
        if status:
            raise SystemExit(f"{self.name} ended with {status}: {errors[-2000:]}")
        self.wall_s.append(time.perf_counter() - begin)
        self.peak_mb.append(usage.ru_maxrss / 1024)
        answer = json.loads(output[output.index("{") :])
        self.stages_s.append(answer["seconds"])
        self.is_estimated = answer.get("is_estimated", False)

    @property
    def seconds(self) -> float:
        """Median from input to result, without the start of the process."""
        return statistics.median(sum(stages.values()) for stages in self.stages_s)

    @property
    def rate(self) -> float:
        """GFLOP/s of the network."""
        return self.gflop / self.stages["network"]

    @property
    def stages(self) -> dict[str, float]:
        """Median seconds by stage; `start` is the start and the end of the process."""
        whole = statistics.median(self.wall_s) - self.seconds
        medians = {
            name: statistics.median(one.get(name, 0.0) for one in self.stages_s)
            for name in self.stages_s[0]
        }
        return {"start": whole} | medians


def main() -> None:
    """Measure, print, and write the page where `--write` is given."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("task")
    parser.add_argument("--series", type=Path, help="a DICOM folder instead of the reference case")
    parser.add_argument(
        "--shape", type=int, nargs=3, help="resample the reference case to so many voxels"
    )
    parser.add_argument("--sizes", nargs="+", help="default: all")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--nnunet", type=Path, default=Path(sys.prefix, "nnunet", "bin", "python"))
    parser.add_argument(
        "--nnunet-patches", type=int, help="compute this many, extrapolate the rest"
    )
    parser.add_argument("--nnunet-patch", type=int, nargs=3, help="default: the package's")
    parser.add_argument("--nnunet-spacing", type=float, nargs=3, help="default: the package's")
    parser.add_argument("--write", action="store_true")
    chosen = parser.parse_args()
    package = resolve(chosen.task, [load(path) for path in models_in(page.ROOT / "models")])
    with tempfile.TemporaryDirectory(prefix="segnode-bench-") as name:
        volume, slices = _case(chosen, package, Path(name))
        rows = _rows(chosen, package, volume, slices, Path(name))
        for at in range(chosen.rounds):
            for row in rows:
                print(f"round {at + 1}: {row.name}, {row.threads} threads", file=sys.stderr)
                row.run()
    text = _report(package, volume, rows, chosen)
    print(text)
    if chosen.write:
        size = "" if chosen.shape is None else f", {' × '.join(str(n) for n in chosen.shape)}"
        name = f"{chosen.task}{size}"
        page.write(name, f"{text}\n\n{bars.chart(name, text)}")


def _threads(count: int) -> dict[str, str]:
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    return dict.fromkeys(names, str(count))


def _case(chosen: argparse.Namespace, package: Package, work: Path) -> tuple[Volume, Path]:
    """Return the case and the folder of its slices; write it as NIfTI for nnU-Net into `work`."""
    if chosen.series is None:
        volume = nifti.read_volume(package.folder / package.manifest.reference.image)
        if chosen.shape is not None:
            volume = resampled(volume, tuple(chosen.shape))
        labelling = Labelling(modality=package.manifest.input.modality)
        compose(volume, work / "series", labelling, datetime.fromtimestamp(time.time(), UTC))
        slices = work / "series"
    else:
        slices = chosen.series
        volume = series.read(sorted(p for p in slices.rglob("*") if p.is_file())).volume
    nifti.write(volume, work / CASE)
    return volume, slices


def resampled(volume: Volume, shape: tuple[int, int, int]) -> Volume:
    """Return the same box in another number of voxels."""
    pairs = zip(volume.grid.spacing_mm, volume.grid.shape, shape, strict=True)
    z, y, x = (edge * before / after for edge, before, after in pairs)
    result = resample(volume, regrid(volume.grid, (z, y, x)), 1)
    return Volume(result.array.round(), result.grid)


def _rows(
    chosen: argparse.Namespace, package: Package, volume: Volume, slices: Path, work: Path
) -> list[Row]:
    manifest = package.manifest
    turned = orient(volume, manifest.grid.orientation)[0]
    shape = regrid(turned.grid, manifest.grid.spacing_mm_zyx).shape
    patches = 1
    for edge, patch in zip(shape, manifest.grid.patch_zyx, strict=True):
        patches *= len(starts(edge, patch, manifest.grid.overlap))
    verified = {
        size: page.verified_engines(package, size) for size in chosen.sizes or manifest.sizes
    }
    rows = []
    for threads in chosen.threads:
        for size, network in manifest.sizes.items():
            for engine in verified[size] if not chosen.sizes or size in chosen.sizes else ():
                words = ["try", str(slices), "--task", package.name, "--size", size]
                words += ["--threads", str(threads), "--models", str(page.ROOT / "models")]
                words += ["--engine", engine, "--json", "--out", str(work / f"{size}-{engine}")]
                command = [sys.executable, "-m", "node", *words]
                gflop = 2 * network.macs_per_patch * patches / 1e9
                rows.append(Row(f"{size}, {engine}", threads, command, engine, gflop))
        if chosen.nnunet.exists():
            image = work / CASE
            rows += [_nnunet(chosen, package, image, threads, mirror=m) for m in (False, True)]
    return rows


def _nnunet(
    chosen: argparse.Namespace, package: Package, image: Path, threads: int, *, mirror: bool
) -> Row:
    grid = package.manifest.grid
    spacing, patch = chosen.nnunet_spacing or grid.spacing_mm_zyx, chosen.nnunet_patch
    words = [str(image), "--classes", str(len(package.manifest.segments) + 1)]
    words += ["--spacing", *(str(s) for s in spacing), "--threads", str(threads)]
    words += ["--patch", *(str(edge) for edge in patch or grid.patch_zyx)]
    if chosen.nnunet_patches is not None:
        words += ["--patches", str(chosen.nnunet_patches)]
    script = str(page.ROOT / "benchmarks" / "nnunet_predictor.py")
    command = [str(chosen.nnunet), script, *words, *(["--mirror"] if mirror else [])]
    return Row(DEFAULTS if mirror else "nnU-Net's predictor, no mirroring", threads, command)


def _report(package: Package, volume: Volume, rows: list[Row], chosen: argparse.Namespace) -> str:
    """Return the line of origin, the peaks and the table."""
    case = "its reference case" if chosen.series is None else "a series"
    if chosen.shape is not None:
        case += ", resampled,"
    shape = " × ".join(str(n) for n in volume.grid.shape)
    runs = f"{package.name}, {case} of {shape} voxels: medians of {chosen.rounds} alternated runs"
    peaks = _peaks(rows)
    rates = "; ".join(
        f"{rate:.0f} in {precision} with {n}" for (n, precision), rate in peaks.items()
    )
    lines = [page.origin(runs), f"Peak in GFLOP/s, by precision and threads: {rates}.", ""]
    cells = [_cells(row, rows, peaks) for row in rows]
    return "\n".join([*lines, page.table(HEAD, cells)])


def _cells(row: Row, rows: list[Row], peaks: dict[tuple[int, str], float]) -> tuple[str, ...]:
    others = {other.name: other for other in rows if other.threads == row.threads}

    def against(name: str) -> str:
        other = others.get(name)
        return "" if other in (None, row) else f"{row.seconds / other.seconds - 1:+.1%}"

    share = row.rate / peaks[row.threads, peak.precision_of(row.engine)] if row.engine else 0.0
    seconds = f"{row.seconds:.2f}" + (" (estimated)" if row.is_estimated else "")
    return (
        row.name,
        str(row.threads),
        seconds,
        against(DEFAULTS),
        against(f"teacher, {row.engine}") or against(f"teacher, {ONNXRUNTIME}")
        if row.engine
        else "",
        f"{max(row.peak_mb):.0f}",
        f"{share:.0%}" if share else "",
        "" if row.is_estimated else ", ".join(f"{n} {s:.2f}" for n, s in row.stages.items()),
    )


def _peaks(rows: list[Row]) -> dict[tuple[int, str], float]:
    """Return the highest rate by threads and precision, in GFLOP/s, the rows' own included."""
    peaks: dict[tuple[int, str], float] = {}
    script = str(page.ROOT / "benchmarks" / "peak.py")
    for threads in sorted({row.threads for row in rows}):
        command = [sys.executable, script, "--threads", str(threads)]
        environment = os.environ | _threads(threads)
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
        for precision, rate in json.loads(done.stdout).items():
            peaks[threads, precision] = rate
    for row in rows:
        if row.engine:
            key = (row.threads, peak.precision_of(row.engine))
            peaks[key] = max(peaks.get(key, 0.0), row.rate)
    return peaks


if __name__ == "__main__":
    main()
