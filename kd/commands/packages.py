"""`kd validate`, `release`, `card` and `unpack`: measure a package, make one, take one apart."""

import argparse
from collections.abc import Sequence
from pathlib import Path

import msgspec
from torch import Tensor

from kd.commands.arguments import absolute, add_recipe, count, version
from kd.commands.output import EXIT_OK, Commands, say, show, show_table
from kd.commands.publishing import Publication, publish, show_package
from kd.commands.starting import cases_of, norm_images
from kd.data.cases import Pair, pairs_in, read_pairs
from kd.data.external import read_external
from kd.data.ids import Ids, read_ids
from kd.data.splits import names_of
from kd.errors import BadRecipe
from kd.evaluation.held_out import held_out
from kd.evaluation.negatives import false_positives
from kd.evaluation.scores import Score
from kd.evaluation.scores import rows as case_rows
from kd.evaluation.summary import report_of
from kd.evaluation.unlabelled import read_unlabelled
from kd.evaluation.validate import Validation, costs, score_all
from kd.recipe.choices import Gates
from kd.recipe.read import TEACHER, Recipe, read_recipe
from kd.records import Report, encode_report
from kd.release import plots
from kd.release.pages import REPORT, packaged_recipe, rewrite_pages
from kd.release.release import OtherImages
from kd.release.unpack import unpack
from kd.release.validation_page import evaluation_page
from node.package import SIZE_NAMES, Package, load
from node.package.manifest import Manifest, SizeName, restrict
from node.pipeline import open_student, segment

WORST = 3  # cases with the lowest Dice that are shown, each of another subject


def add_to(commands: Commands) -> None:
    """Add the commands of this module."""
    test = commands.add_parser(
        "validate", help="Dice, surface Dice, HD95, volumes, seconds and memory of a package"
    )
    test.add_argument("package", type=absolute, help="folder of the package")
    test.add_argument("--data", type=absolute, help="the data set of the package's own recipe")
    test.add_argument("--split", help="of that data set (default: the recipe's test split)")
    test.add_argument("--images", type=Path, help="instead: a folder of images")
    test.add_argument(
        "--labels",
        type=Path,
        help="and a folder of labels of the same names (of nnU-Net's image names without _0000)",
    )
    test.add_argument(
        "--ids",
        type=Path,
        help="CSV (id,segment) for labels of another numbering, such as FreeSurfer's; voxels of an "
        "id with an empty segment are not scored",
    )
    test.add_argument("--size", action="append", help="only this size; may be repeated")
    test.add_argument("--threads", type=count, default=1, help="default: 1")
    test.add_argument(
        "--out", type=Path, help="folder for report.json, cases.csv, validation.md and pictures"
    )
    test.add_argument("--json", action="store_true", help="the report as JSON on the output")
    test.set_defaults(run_command=_validate)

    out = commands.add_parser(
        "release", help="measure finished runs and write a package if the recipe's gates hold"
    )
    add_recipe(out)
    out.add_argument("--runs", type=absolute, required=True, help="folder with one run per size")
    out.add_argument(
        "--compare",
        action="append",
        default=[],
        metavar="NAME=SIZE:RUN",
        help="also measure this run, for the report; may be repeated",
    )
    out.add_argument("--version", type=version, required=True, help="such as 1.0")
    out.add_argument("--models", type=absolute, default=Path("models"), help="default: models")
    out.add_argument(
        "--external", type=Path, help="folder of the external data sets that the recipe lists"
    )
    out.add_argument(
        "--reference-image", type=Path, required=True, help="image of the reference case"
    )
    out.add_argument("--notice", type=Path, required=True, help="licence of that image")
    out.add_argument("--json", action="store_true", help="the report as JSON on the output")
    out.set_defaults(run_command=_release)

    pages = commands.add_parser(
        "card", help="write card.md, validation.md and their pictures of a package again"
    )
    pages.add_argument("package", type=absolute, help="folder of the package; its digest changes")
    pages.set_defaults(run_command=_card)

    back = commands.add_parser(
        "unpack", help="write the networks of a package as finished runs, one for each size"
    )
    back.add_argument("package", type=absolute, help="folder of the package")
    back.add_argument("--runs", type=absolute, required=True, help="folder for the runs")
    back.add_argument(
        "--data",
        type=absolute,
        help="folder of its data set: makes the runs fit for --start (batch norms get statistics)",
    )
    back.set_defaults(run_command=_unpack)


def _validate(chosen: argparse.Namespace) -> int:
    package = load(chosen.package)
    ids = read_ids(chosen.ids, package.manifest.numbers) if chosen.ids is not None else None
    pairs = _pairs(chosen, package, ids)
    manifest = package.manifest if ids is None else restrict(package.manifest, ids.scored)
    sizes = chosen.size or list(package.manifest.sizes)
    scores = score_all(
        package, pairs, sizes, segments=manifest.segments, threads=chosen.threads, say=say
    )
    measured = Validation(scores, costs(package, sizes, chosen.threads))
    evidence = held_out(package.manifest, pairs, _names_used(chosen, package))
    say(evidence.sentence)
    report = report_of(manifest, scores, measured.costs)
    negatives = false_positives(package, pairs, sizes, chosen.threads)
    report = msgspec.structs.replace(report, held_out=evidence, negatives=negatives)
    if chosen.out is not None:
        _write(chosen.out, package, manifest, pairs, measured, report)
    if chosen.json:
        show(msgspec.json.encode(report).decode())
        return EXIT_OK
    rows = []
    for size, one in report.sizes.items():
        cost = measured.costs[size]
        cells = [size, f"{one.dice.mean:.4f}", f"{one.nsd.mean:.4f}", f"{one.hd95_mm.mean:.2f}"]
        rows.append([*cells, f"{cost.seconds:.2f}", f"{cost.peak_mb:.0f}"])
    show_table(["size", "Dice", "surface Dice", "HD95 mm", "seconds", "peak MB"], rows)
    for size, counted in report.negatives.items():
        show(f"{size}: {counted.sentence}")
    return EXIT_OK


def _pairs(chosen: argparse.Namespace, package: Package, ids: Ids | None) -> list[Pair]:
    if chosen.images is not None and chosen.labels is not None:
        return pairs_in(chosen.images, chosen.labels, len(package.manifest.segments) + 1, ids)
    if chosen.data is None:
        message = "nothing to validate on"
        raise BadRecipe(message, advice="Give --data, or --images and --labels")
    recipe = packaged_recipe(package.manifest)
    names = names_of(recipe, chosen.data, chosen.split or recipe.data.test)
    return read_pairs(recipe, chosen.data, names)


def _names_used(chosen: argparse.Namespace, package: Package) -> tuple[str, ...]:
    """Return the training cases that a package names, if it is measured on its own data set."""
    if chosen.images is not None or chosen.data is None:
        return ()
    data = packaged_recipe(package.manifest).data
    return data.cases.get(data.train, ())


def _write(
    out: Path,
    package: Package,
    manifest: Manifest,
    pairs: list[Pair],
    measured: Validation,
    report: Report,
) -> None:
    """Write report, table, page and plots, and the worst cases of each size as pictures."""
    out.mkdir(parents=True, exist_ok=True)
    (out / REPORT).write_bytes(encode_report(report))
    texts = {
        "cases.csv": "\n".join(case_rows(manifest, measured.scores.items())) + "\n",
        "accuracy.svg": plots.accuracy_against_latency(report),
    }
    if TEACHER in measured.scores and len(measured.scores) > 1:
        texts["differences.svg"] = plots.differences(plots.AGAINST_TEACHER, measured.gaps())
    title = "Worst cases: image, reference labels, detected labels"
    pictures: dict[str, list[str]] = {"Accuracy against latency": ["accuracy.svg"], title: []}
    by_name = {pair.name: pair for pair in pairs}
    for size, scores in measured.scores.items():
        student = open_student(package, size)
        for score in worst(scores):
            pair = by_name[score.case]
            labels = segment(pair.image, package, student).labels
            name = f"worst_{size}_{score.case}.png"
            plots.overlay(pair.image, [pair.labels, labels], manifest.segments, out / name)
            pictures[title].append(name)
    texts["validation.md"] = evaluation_page(manifest, Gates(), report, pictures)
    for name, text in texts.items():
        (out / name).write_text(text, encoding="utf-8")


def worst(scores: Sequence[Score]) -> list[Score]:
    """Return the cases with the lowest Dice, the lowest first, of different subjects."""
    best_first = sorted(scores, key=lambda s: s.mean("dice"), reverse=True)
    of_each = {score.subject_key: score for score in best_first}  # keeps the worst of a subject
    return sorted(of_each.values(), key=lambda s: s.mean("dice"))[:WORST]


def _release(chosen: argparse.Namespace) -> int:
    recipe = read_recipe(chosen.recipe)
    publication = Publication(
        version=chosen.version,
        models=chosen.models,
        reference_image=chosen.reference_image,
        notice=chosen.notice,
        compared=dict(_compared(text) for text in chosen.compare),
        command=chosen.typed,
    )
    others = _others(recipe, chosen)
    package = publish(recipe, chosen.data, chosen.runs, publication, others)
    if chosen.json:
        show((package.folder / REPORT).read_text(encoding="utf-8").strip())
        return EXIT_OK
    show_package(package)
    return EXIT_OK


def _card(chosen: argparse.Namespace) -> int:
    package = rewrite_pages(chosen.package)
    show(f"{package.folder / 'card.md'} and validation.md written; digest {package.digest}")
    return EXIT_OK


def _unpack(chosen: argparse.Namespace) -> int:
    package = load(chosen.package)
    images, cases = list[Tensor](), tuple[str, ...]()
    if chosen.data is not None:
        recipe = packaged_recipe(package.manifest)
        names = names_of(recipe, chosen.data, recipe.data.train)
        images = norm_images(recipe, chosen.data, names)
        cases = cases_of(package.manifest, recipe, chosen.data, names)
    for folder in unpack(package, chosen.runs, images, cases):
        say(f"{folder.name}: written")
    return EXIT_OK


def _others(recipe: Recipe, chosen: argparse.Namespace) -> OtherImages:
    folder = chosen.external
    if folder is None:
        if recipe.external or recipe.unlabelled:
            message = "the recipe lists external or unlabelled images, and their folder is unknown"
            raise BadRecipe(message, advice="Give --external, the folder that holds their folders")
        return OtherImages()
    labelled = read_external(recipe, folder, chosen.recipe.parent)
    return OtherImages(labelled, read_unlabelled(recipe, folder))


def _compared(text: str) -> tuple[str, tuple[SizeName, Path]]:
    """Read NAME=SIZE:RUN."""
    name, _, rest = text.partition("=")
    size, _, run = rest.partition(":")
    for known in SIZE_NAMES:
        if known == size and name and run:
            return name, (msgspec.convert(known, SizeName), Path(run))
    message = f"--compare {text!r} is not NAME=SIZE:RUN"
    raise BadRecipe(message, advice=f"Sizes are {', '.join(SIZE_NAMES)}")
