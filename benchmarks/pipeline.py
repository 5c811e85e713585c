"""One real case, from a DICOM folder to a verified SEG: every size, beside nnU-Net's own predictor.

    python benchmarks/pipeline.py brain-mr [--rounds 3] [--threads 1 2] [--nnunet PYTHON] [--write]

The case is the package's golden one, as a DICOM series. Every run is a process of its own; rows
take turns, so that a noisy minute hits all of them; the table has medians. With `--write` it goes
into docs/performance.md with the machine and the commit. `make setup` makes an interpreter for
nnU-Net, which needs minutes for a whole head: let it compute a few patches only.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from node.imaging.nifti import read_volume
from node.package import Package, load, resolve
from node.package.folder import models_in
from node.series.compose import Labelling, compose

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "performance.md"
BEGIN, END = "<!-- {task}: begin -->", "<!-- {task}: end -->"


@dataclass
class Row:
    """One way to segment the case, and what its runs took."""

    name: str
    threads: int
    command: list[str]
    wall_s: list[float] = field(default_factory=list)
    peak_mb: list[float] = field(default_factory=list)
    stages_s: list[dict[str, float]] = field(default_factory=list)
    is_estimated: bool = False

    def run(self) -> None:
        """Run once more in a process of its own."""
        threads = {name: str(self.threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
        begun = time.perf_counter()
        process = subprocess.Popen(
            self.command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=os.environ | threads
        )
        out, err = process.stdout, process.stderr
        assert out is not None
        assert err is not None
        said, complaint = out.read(), err.read()
        _, status, usage = os.wait4(process.pid, 0)
        if status:
            raise SystemExit(f"{self.name}: {complaint.decode()[-2000:]}")
        self.wall_s.append(time.perf_counter() - begun)
        self.peak_mb.append(usage.ru_maxrss / 1024)
        answer = json.loads(said.decode().strip().splitlines()[-1])
        self.stages_s.append(answer["seconds"])
        self.is_estimated = answer.get("is_estimated", False)

    @property
    def seconds(self) -> float:
        """Median from input to result, without the start of the process."""
        return statistics.median(sum(stages.values()) for stages in self.stages_s)


def main() -> None:
    """Measure, print, and on request write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("task")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--nnunet", type=Path, default=Path(sys.prefix, "nnunet", "bin", "python"))
    parser.add_argument("--nnunet-patches", type=int, help="compute so many, and estimate the rest")
    parser.add_argument("--nnunet-patch", type=int, nargs=3, help="default: the package's")
    parser.add_argument("--nnunet-spacing", type=float, nargs=3, help="default: the package's")
    parser.add_argument("--write", action="store_true")
    chosen = parser.parse_args()
    package = resolve(chosen.task, [load(path) for path in models_in(ROOT / "models")])
    with tempfile.TemporaryDirectory(prefix="segnode-bench-") as name:
        rows = _rows(chosen, package, Path(name))
        for at in range(chosen.rounds):
            for row in rows:
                print(f"round {at + 1}: {row.name}, {row.threads} threads", file=sys.stderr)
                row.run()
    text = "\n".join(_table(package, rows, chosen.rounds))
    print(text)
    if chosen.write:
        _write(chosen.task, text)


def _rows(chosen: argparse.Namespace, package: Package, folder: Path) -> list[Row]:
    image = package.folder / package.manifest.golden.image
    volume = read_volume(image)
    now = datetime.fromtimestamp(time.time(), UTC)
    labelling = Labelling(modality=package.manifest.input.modality)
    compose(volume, folder / "series", labelling, now)
    rows = []
    for threads in chosen.threads:
        for size in package.manifest.sizes:
            words = ["try", str(folder / "series"), "--task", package.name, "--size", size]
            words += ["--threads", str(threads), "--models", str(ROOT / "models"), "--json"]
            command = [sys.executable, "-m", "node", *words, "--out", str(folder / f"out-{size}")]
            rows.append(Row(f"segnode, {size}", threads, command))
        if chosen.nnunet.exists():
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
    script = str(ROOT / "benchmarks" / "nnunet_predictor.py")
    command = [str(chosen.nnunet), script, *words, *(["--mirror"] if mirror else [])]
    name = "nnUNetPredictor, defaults" if mirror else "nnUNetPredictor, no mirroring"
    return Row(name, threads, command)


def _table(package: Package, rows: list[Row], rounds: int) -> list[str]:
    shape = read_volume(package.folder / package.manifest.golden.image).grid.shape
    lines = [
        f"{package.name}, its golden case ({' × '.join(str(n) for n in shape)} voxels): medians of "
        f"{rounds} alternated runs, {_machine()}, commit {_commit()}.",
        "",
        "| what | threads | seconds | process | peak MB | against nnU-Net | by stage |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        usual = [r for r in rows if r.threads == row.threads and r.name.endswith("defaults")]
        ratio = f"{row.seconds / usual[0].seconds - 1:+.1%}" if usual else ""
        wall = statistics.median(row.wall_s)
        stages = {
            name: statistics.median(one.get(name, 0.0) for one in row.stages_s)
            for name in row.stages_s[0]
        }
        seconds = f"{row.seconds:.2f}" + (" (estimated)" if row.is_estimated else "")
        cells = [row.name, str(row.threads), seconds]
        cells += ["" if row.is_estimated else f"{wall:.2f}", f"{max(row.peak_mb):.0f}", ratio]
        cells += [", ".join(f"{name} {value:.2f}" for name, value in stages.items())]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _machine() -> str:
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
            if line.startswith("model name")
        ),
        platform.processor(),
    )
    return f"{os.cpu_count()} cores of {model}"


def _commit() -> str:
    asked = ["git", "rev-parse", "--short", "HEAD"]
    return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()


def _write(task: str, text: str) -> None:
    page = PAGE.read_text(encoding="utf-8")
    begin, end = BEGIN.format(task=task), END.format(task=task)
    if begin not in page:
        page = f"{page.rstrip()}\n\n## {task}\n\n{begin}\n{end}\n"
    before, _, rest = page.partition(begin)
    after = rest.partition(end)[2]
    PAGE.write_text(f"{before}{begin}\n{text}\n{end}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
