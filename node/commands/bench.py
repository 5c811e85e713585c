"""`segnode models bench`: measure time and memory of each size with each engine, here."""

import argparse
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from node import measured
from node.commands.options import DEFAULT_CONFIG, add_config, add_json, print_json
from node.commands.packages import models_folder, packages_in
from node.commands.terminal import Progress, print_table
from node.config import Config, DataConfig, load
from node.measured import Candidate, Measurement, fastest
from node.package import SIZE_NAMES, Package
from node.segmenter import measure_now


def add_to(actions: argparse._SubParsersAction) -> None:  # type: ignore[type-arg]
    """Add `bench` to the actions of `models`."""
    command = actions.add_parser(
        "bench",
        help="measure time and memory of each size with each engine, on this machine",
        description="Run the reference case of each size with each engine in a separate process, "
        "within `limits`: once to compare its labels, then three times for the median. The "
        "measurements are stored in the data folder; `size: auto` and `engine: auto` use them.",
    )
    command.add_argument("--size", choices=SIZE_NAMES, help="only this size")
    add_config(command)
    command.add_argument("--models", type=Path, help="folder of packages, instead of model.dir")
    command.add_argument("--threads", type=int, help="instead of limits.threads")
    add_json(command)
    command.set_defaults(run=_bench)


def _bench(chosen: argparse.Namespace) -> int:
    progress = Progress(quiet=chosen.json)
    measurements = []
    with _configured(chosen) as config:
        host = measured.this_host(config.limits.threads)
        progress.say(f"{host.cpu}, {host.threads} threads, {len(host.versions)} engines")
        for package in packages_in(models_folder(chosen)):
            for candidate in _candidates(package, chosen.size, list(host.versions)):
                text = f"measuring {package.name}, size {candidate.size}, {candidate.engine}"
                with progress.running(text):
                    one = measure_now(config, host, candidate)
                measured.write(config.data, one)
                measurements.append(one)
    if chosen.json:
        print_json(measurements)
    else:
        _print(measurements)
    able = {(one.digest, one.size) for one in measurements if not one.problem}
    return 0 if measurements and able == {(one.digest, one.size) for one in measurements} else 1


@contextmanager
def _configured(chosen: argparse.Namespace) -> Iterator[Config]:
    """Give the configuration; without a file use default limits and store nothing."""
    with tempfile.TemporaryDirectory(prefix="segnode-bench-") as temporary:
        if chosen.config == DEFAULT_CONFIG and not chosen.config.exists():
            config = Config(data=DataConfig(dir=Path(temporary)))
        else:
            config = load(chosen.config)
        if chosen.threads is not None:
            limits = msgspec.structs.replace(config.limits, threads=chosen.threads)
            config = msgspec.structs.replace(config, limits=limits)
        yield config


def _candidates(package: Package, size: str | None, engines: list[str]) -> list[Candidate]:
    """Return the sizes and engines to measure, the size with the fewest operations first."""
    by_macs = sorted(package.manifest.sizes.items(), key=lambda item: item[1].macs_per_patch)
    sizes = [name for name, _ in by_macs]
    chosen = [name for name in sizes if size in (None, name)]
    return [Candidate(package, name, engine) for name in chosen for engine in engines]


def _print(measurements: list[Measurement]) -> None:
    head = (
        "package",
        "size",
        "engine",
        "reference Dice",
        "open s",
        "seconds",
        "ms per patch",
        "MiB",
        "",
    )
    print_table(head, [_row(one, measurements) for one in measurements])


def _row(one: Measurement, measurements: list[Measurement]) -> tuple[str, ...]:
    name = (one.package, one.size, one.engine)
    if one.problem:
        return (*name, "-", "-", "-", "-", "-", one.problem)
    rivals = [m for m in measurements if (m.digest, m.size) == (one.digest, one.size)]
    numbers = (f"{one.dice:.4f}", f"{one.open_s:.2f}", f"{one.seconds:.3f}",
               f"{1000 * one.patch_s:.1f}", f"{one.peak_mb:.0f}")  # fmt: skip
    return (*name, *numbers, "fastest" if one is fastest(rivals) else "")
