"""Turn a released package back into finished runs, to release or to train its networks further.

Promises: an unpacked network answers what the released one answers. Its batch norms were folded
into the convolutions: `recalibrate` gives them back statistics with which training can go on.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec
import torch
from torch import Tensor, nn

from kd.errors import BadCheckpoint, BadRecipe
from kd.networks.package_weights import load_folded, released_weights
from kd.networks.unet import UNet
from kd.recipe.read import TEACHER, Recipe
from kd.records import Ancestor, Run, TeacherSignal, TrainingReport, read_report
from kd.release.command import note
from kd.release.pages import REPORT, packaged_recipe
from kd.training.checkpoints import CHECKPOINT, Checkpoint, write_checkpoint
from kd.training.runs import fold_run, new_network
from kd.training.tasks import choices_of
from node.package import Package
from node.package.manifest import SizeName


def unpack(
    package: Package, runs: Path, images: Iterable[Tensor] = (), cases: Sequence[str] = ()
) -> list[Path]:
    """Write one finished run for each size of `package`; return their folders.

    Args:
        package: with its recipe and its report.
        runs: folder of the runs: `teacher_0` for the teacher, else the name of the size.
        images: batches [B, 1, Z, Y, X] for `recalibrate`; without them the runs may be released
            and distilled from, not trained further.
        cases: its training cases, where its recipe does not list them.

    Raises:
        BadCheckpoint: a run is there already, or a network does not fit the package's recipe.
        BadRecipe: the package has no recipe, or its recipe lists no training cases.
    """
    recipe, manifest = packaged_recipe(package.manifest), package.manifest
    cases = recipe.data.cases.get(recipe.data.train, tuple(cases))
    if not cases:
        message = f"the recipe of {package.name} does not list its training cases"
        raise BadRecipe(message, advice="Give --data, the data set that the runs are for")
    report = read_report(package.folder / REPORT)
    batches, folders = list(images), []
    for size, described in manifest.sizes.items():
        folder = fold_run(runs, 0) if size == TEACHER else runs / size
        if (folder / CHECKPOINT).exists():
            message = f"run {folder.name} is there already"
            raise BadCheckpoint(message, advice="Give another --runs folder")
        path = package.folder / described.file
        network = new_network(recipe, size)
        load_folded(network, released_weights(path), path)
        recalibrate(network, batches)
        training = report.sizes[size].training
        assert training is not None  # a released report has it for each size
        run = _record(recipe, size, cases, training)
        folder.mkdir(parents=True, exist_ok=True)
        write_checkpoint(Checkpoint(run, network.state_dict()), folder)
        note(folder, training.command)
        folders.append(folder)
    return folders


def recalibrate(network: UNet, batches: Iterable[Tensor]) -> None:
    """Give each batch norm the statistics of its input; the network's answers stay the same.

    Args:
        network: its batch norms are the identity, as `load_folded` leaves them.
        batches: images [B, 1, Z, Y, X] like those of the training.
    """
    norms = {n: m for n, m in network.named_modules() if isinstance(m, nn.BatchNorm3d)}
    sums = {name: torch.zeros(2, norm.num_features) for name, norm in norms.items()}
    counts = dict.fromkeys(norms, 0)

    def counting(name: str) -> None:
        def hook(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            x = inputs[0].detach().float()
            sums[name] += torch.stack([x.sum((0, 2, 3, 4)), x.square().sum((0, 2, 3, 4))])
            counts[name] += x.numel() // x.shape[1]

        hooks.append(norms[name].register_forward_pre_hook(hook))

    hooks: list[torch.utils.hooks.RemovableHandle] = []
    for name in norms:
        counting(name)
    network.eval()
    with torch.no_grad():
        for image in batches:
            network(image)
        for hook in hooks:
            hook.remove()
        for name, norm in norms.items():
            if counts[name]:
                mean, square = sums[name] / counts[name]
                variance = (square - mean.square()).clamp_min(norm.eps)
                assert norm.running_mean is not None  # statistics are tracked
                assert norm.running_var is not None
                norm.running_mean.copy_(mean)
                norm.running_var.copy_(variance)
                norm.weight.copy_((variance + norm.eps).sqrt())
                norm.bias.copy_(mean)


def _record(
    recipe: Recipe, size: SizeName, cases: tuple[str, ...], training: TrainingReport
) -> Run:
    """Return the record of a released training, with the runs that it was continued from."""
    inherits = None
    if training.inherits is not None:
        wide = Run(cases=cases, choices=choices_of(recipe, recipe.fold_size))
        inherits = Ancestor(weights=training.inherits, run=wide)
    run: Run | None = None
    for budget in training.runs:
        choices = choices_of(recipe, size)
        changed = {"seed": budget.seed, "steps": budget.steps, "minutes": budget.minutes}
        of_run = msgspec.structs.replace(choices.training, **changed)
        is_last = budget is training.runs[-1]
        earlier = run
        run = Run(
            cases=cases,
            choices=msgspec.structs.replace(choices, training=of_run),
            distillation=recipe.distillation if budget.distilled else None,
            teacher=TeacherSignal(digest=training.teacher or "", cases=cases)
            if budget.distilled
            else None,
            start=None if earlier is None else Ancestor(weights=training.start or "", run=earlier),
            inherits=inherits if earlier is None else None,
            step=budget.steps or 0,
            seconds=training.seconds if is_last else 0.0,
        )
    assert run is not None  # every training has a run
    return run
