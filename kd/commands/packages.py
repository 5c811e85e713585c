"""`kd evaluate` and `kd release`: packages measured, and packages made."""

import argparse
import json
import shlex
import subprocess
import time
from pathlib import Path

import msgspec

from kd.cases import names_of, read_cases, read_pair
from kd.commands.output import EXIT_OK, Commands, say, show
from kd.evaluate import evaluate, summarise
from kd.recipe import read_recipe
from kd.release import Order, release
from node.package import load


def add_to(commands: Commands) -> None:
    """Add the commands of this room."""
    test = commands.add_parser("evaluate", help="Dice of a package on labelled cases")
    test.add_argument("package", type=Path, help="folder of the package")
    test.add_argument("recipe", type=Path, help="YAML recipe, which says how the data is laid out")
    test.add_argument("--data", type=Path, required=True, help="folder of the data set")
    test.add_argument("--split", help="name of the split (default: the recipe's test split)")
    test.add_argument("--size", action="append", help="only this size; may be repeated")
    test.add_argument("--threads", type=int, default=0, help="0: one per core")
    test.add_argument("--json", action="store_true", help="numbers as JSON")
    test.set_defaults(run_command=_evaluate)

    out = commands.add_parser("release", help="write a package folder from finished runs")
    out.add_argument("recipe", type=Path, help="YAML recipe")
    out.add_argument("--data", type=Path, required=True, help="folder of the data set")
    out.add_argument("--runs", type=Path, required=True, help="folder with one run per size")
    out.add_argument("--version", required=True, help="such as 0.1")
    out.add_argument("--models", type=Path, default=Path("models"), help="default: models")
    out.add_argument("--golden", type=Path, required=True, help="image of the golden case")
    out.add_argument("--notice", type=Path, required=True, help="licence of that image")
    out.set_defaults(run_command=_release)


def _evaluate(chosen: argparse.Namespace) -> int:
    recipe, package = read_recipe(chosen.recipe), load(chosen.package)
    names = names_of(recipe, chosen.data, chosen.split or recipe.data.test)
    pairs = [read_pair(recipe, chosen.data, name) for name in names]
    found = {
        size: summarise(package, evaluate(package, size, pairs, threads=chosen.threads))
        for size in chosen.size or package.manifest.sizes
    }
    if chosen.json:
        show(msgspec.json.encode(found).decode())
        return EXIT_OK
    for size, metrics in found.items():
        low, high = metrics.dice.ci
        show(f"{size}: mean Dice {metrics.dice.mean:.4f} ({low:.4f} to {high:.4f})")
        for label, part in metrics.dice_per_segment.items():
            show(f"  {label}: {part.mean:.4f}")
    return EXIT_OK


def _release(chosen: argparse.Namespace) -> int:
    recipe = read_recipe(chosen.recipe)
    train_names = names_of(recipe, chosen.data, recipe.data.train)
    test_names = names_of(recipe, chosen.data, recipe.data.test)
    order = Order(
        recipe=recipe,
        version=chosen.version,
        runs={size: chosen.runs / size for size in recipe.sizes},
        golden_image=chosen.golden,
        golden_notice=chosen.notice,
        commit=_commit(),
        created=time.strftime("%Y-%m-%d", time.gmtime()),
        command=_typed(chosen),
    )
    package = release(
        order,
        read_cases(recipe, chosen.data, train_names[:4]),
        [read_pair(recipe, chosen.data, name) for name in test_names],
        chosen.models,
        report=say,
    )
    show(json.dumps({"package": package.name, "digest": package.digest}))
    return EXIT_OK


def _typed(chosen: argparse.Namespace) -> str:
    """Return the command without this machine's paths to data and runs."""
    words = [
        "kd",
        "release",
        f"kd/recipes/{chosen.recipe.name}",
        "--data",
        "DATA",
        "--runs",
        "RUNS",
    ]
    words += ["--version", chosen.version, "--golden", chosen.golden.name]
    return shlex.join([*words, "--notice", chosen.notice.name])


def _commit() -> str:
    """Return the commit of the working tree, for the provenance."""
    asked = ["git", "rev-parse", "HEAD"]
    done = subprocess.run(asked, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else "unknown"
