"""`segnode models`: which packages there are, and whether they can be trusted."""

import argparse
from pathlib import Path

from node.commands import bench
from node.commands.options import Steps, add_config, add_json, print_json, print_table
from node.commands.packages import models_folder, package_folders, packages_in
from node.errors import NodeError
from node.package import SIZE_NAMES, installed
from node.pipeline import reference_dice


def add_to(commands: argparse._SubParsersAction) -> None:  # type: ignore[type-arg]
    """Add `models list`, `verify` and `bench` to the command line."""
    models = commands.add_parser("models", help="list, verify or measure model packages")
    actions = models.add_subparsers(dest="action", metavar="ACTION", required=True)
    for name, run, said in (
        ("list", _list, "sizes with parameters and accuracy"),
        ("verify", _verify, "digests, shapes and reference cases"),
    ):
        action = actions.add_parser(name, help=said)
        add_config(action)
        action.add_argument("--models", type=Path, help="folder of packages, instead of model.dir")
        add_json(action)
        action.set_defaults(run=run)
    bench.add_to(actions)


def _list(chosen: argparse.Namespace) -> int:
    rows = []
    for package in packages_in(models_folder(chosen)):
        for name in SIZE_NAMES:
            size = next((s for key, s in package.manifest.sizes.items() if key == name), None)
            metrics = next((m for key, m in package.manifest.metrics.items() if key == name), None)
            if size is not None:
                rows.append((package, name, size, metrics))
    if chosen.json:
        print_json(
            [
                {
                    "package": p.name,
                    "size": n,
                    "parameters": s.parameters,
                    "width": s.width,
                    "macs_per_patch": s.macs_per_patch,
                    "metrics": m,
                }
                for p, n, s, m in rows
            ]
        )
        return 0
    print_table(
        ("package", "size", "parameters", "width", "Dice (95 % interval)", "cases"),
        [
            (
                p.name,
                n,
                f"{s.parameters:,}",
                f"{s.width:g}",
                m.dice.words(".3f") if m else "not measured",
                m.cases if m else "",
            )
            for p, n, s, m in rows
        ],
    )
    return 0


def _verify(chosen: argparse.Namespace) -> int:
    steps = Steps(quiet=chosen.json)
    results = []
    for folder in package_folders(models_folder(chosen)):
        name = f"{folder.parent.name}/{folder.name}"
        try:
            package = installed(folder)
            for size in package.manifest.sizes:
                steps.say(f"running the reference case of {name}, size {size}")
                dice = reference_dice(package, size)
                good = dice >= package.manifest.reference.least_dice
                results.append({"package": name, "size": size, "ok": good, "dice": dice})
        except NodeError as exc:
            results.append({"package": name, "ok": False, "problem": exc.message})
    if chosen.json:
        print_json(results)
    for result in [] if chosen.json else results:
        mark = "ok  " if result["ok"] else "FAIL"
        said = (
            result.get("problem") or f"size {result['size']}, reference Dice {result['dice']:.4f}"
        )
        print(f"{mark}  {result['package']}: {said}")
    return 0 if all(result["ok"] for result in results) else 1
