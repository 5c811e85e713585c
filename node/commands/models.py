"""`segnode models`: list, verify and benchmark the installed packages, choose a size."""

import argparse
from pathlib import Path

from node.commands import bench, choose
from node.commands.options import add_config, add_json, print_json
from node.commands.packages import models_folder, package_folders, packages_in
from node.commands.terminal import Progress, print_table
from node.errors import NodeError
from node.package import SIZE_NAMES, installed
from node.package.validation import Measured, evidence
from node.pipeline import reference_dice


def add_to(commands: argparse._SubParsersAction) -> None:  # type: ignore[type-arg]
    """Add `models list`, `verify`, `bench` and `choose` to the command line."""
    models = commands.add_parser(
        "models", help="list, verify or benchmark model packages, choose a size"
    )
    actions = models.add_subparsers(dest="action", metavar="ACTION", required=True)
    for name, run, text in (
        (
            "list",
            _list,
            "sizes with parameters and Dice, the data set that it was measured on, and digests",
        ),
        ("verify", _verify, "check digests and shapes, and reproduce the reference cases"),
    ):
        action = actions.add_parser(name, help=text)
        add_config(action)
        action.add_argument("--models", type=Path, help="folder of packages, instead of model.dir")
        add_json(action)
        action.set_defaults(run=run)
    bench.add_to(actions)
    choose.add_to(actions)


def _list(chosen: argparse.Namespace) -> int:
    packages = packages_in(models_folder(chosen))
    sizes = [
        (package, name, package.manifest.sizes[name], evidence(package, name))
        for package in packages
        for name in SIZE_NAMES
        if name in package.manifest.sizes
    ]
    if chosen.json:
        print_json(
            [
                {
                    "package": package.name,
                    "digest": package.digest,
                    "size": name,
                    "parameters": size.parameters,
                    "width": size.width,
                    "macs_per_patch": size.macs_per_patch,
                    "metrics": package.manifest.metrics.get(name),
                    "measured": measured,
                }
                for package, name, size, measured in sizes
            ]
        )
        return 0
    rows = []
    for package, name, size, measured in sizes:
        facts = _facts(measured[0]) if measured else ("not measured yet", "-", "-")
        rows.append((package.name, name, f"{size.parameters:,}", *facts))
    head = ("package", "size", "parameters", "Dice (95 % interval)", "cases", "measured on")
    print_table(head, rows)
    print("\nSHA-256 of the packages, as lines for `model.digests` in node.yaml:")
    for package in packages:
        print(f'    {package.name}: "{package.digest}"')
    return 0


def _facts(measured: Measured) -> tuple[str, str, str]:
    kind = "external" if measured.is_external else "held out"
    return (measured.dice.words(".3f"), str(measured.cases), f"{kind}: {measured.data_set}")


def _verify(chosen: argparse.Namespace) -> int:
    progress = Progress(quiet=chosen.json)
    results = []
    for folder in package_folders(models_folder(chosen)):
        name = f"{folder.parent.name}/{folder.name}"
        try:
            package = installed(folder)
            for size in package.manifest.sizes:
                with progress.running(f"reference case of {name}, size {size}"):
                    dice = reference_dice(package, size)
                good = dice >= package.manifest.reference.least_dice
                results.append({"package": name, "size": size, "ok": good, "dice": dice})
        except NodeError as exc:
            results.append({"package": name, "ok": False, "problem": exc.message})
    if chosen.json:
        print_json(results)
    for result in [] if chosen.json else results:
        mark = "ok  " if result["ok"] else "FAIL"
        text = (
            result.get("problem") or f"size {result['size']}, reference Dice {result['dice']:.4f}"
        )
        print(f"{mark}  {result['package']}: {text}")
    return 0 if all(result["ok"] for result in results) else 1
