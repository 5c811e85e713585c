"""The recipe: every choice of one family of networks, in one YAML file that a person edits.

Unknown keys, wrong types and numbers out of bounds are refused with their path. The parts that a
released package repeats (input range, grid, intensity, segments) use the package's structs.
"""

import hashlib
from pathlib import Path
from typing import Literal

import msgspec

from kd.errors import BadRecipe
from kd.recipe.bounds import Folds, Positive, Strict
from kd.recipe.choices import (
    Augment,
    Distillation,
    Gates,
    Generator,
    Net,
    Strides,
    Topology,
    Training,
    Triple,
    uniform,
)
from kd.recipe.sources import Data, External, Unlabelled
from kd.recipe.stages import Stages
from node.conversion import NotValid
from node.imaging import intensity, region_steps
from node.imaging.sharpen import Sharpen
from node.package.manifest import (
    SIZE_NAMES,
    Expected,
    Input,
    ModelGrid,
    Segment,
    SizeName,
    TaskName,
    pipeline_problems,
)
from node.yaml_strict import read

TEACHER: SizeName = "teacher"
LARGEST_PACKAGE_MB = 40.0  # every release of this repository stays in each clone for ever
OTHER_SIDE = {"7771000": "24028007", "24028007": "7771000"}  # SNOMED CT: left, right
UNKNOWN_CODE = "?"  # of a segment that nobody has coded yet; a release refuses it


class Recipe(Strict, frozen=True, kw_only=True):
    """All choices of one family."""

    task: TaskName
    title: str
    intended_use: str
    limits: tuple[str, ...] = ()  # what was not measured or may mislead, for the card
    data: Data
    input: Input
    grid: ModelGrid
    intensity: tuple[intensity.IntensityStep, ...]
    segments: tuple[Segment, ...]
    # a released network averages its scores for the image and for its mirror image
    mirror: bool = False
    sharpen: Sharpen | None = None  # weigh the network's scores with the image's intensities
    regions: tuple[region_steps.RegionStep, ...] = ()
    expect: tuple[Expected, ...] = ()  # volumes that any patient has
    strides_zyx: tuple[Strides, ...]
    stages: Stages | None = None  # of an imported network; None: 3 × 3 × 3 convolutions
    sizes: dict[SizeName, Net]
    training: Training = Training()
    folds: Folds = 1  # of the ensemble; 1: one teacher, trained on every training case
    fold_size: SizeName = TEACHER  # the ensemble's networks; a cheaper size buys longer training
    # the teacher in a package: a separate network that is trained on every case, or the ensemble
    released_teacher: Literal["trained", "ensemble"] = "trained"
    distillation: Distillation = Distillation()
    gates: Gates = Gates()
    largest_package_mb: Positive = LARGEST_PACKAGE_MB  # a release that is larger is refused
    external: tuple[External, ...] = ()
    unlabelled: tuple[Unlabelled, ...] = ()
    augment: Augment = Augment()
    # training and test images are synthesised from label maps (data.labels) instead of read
    generator: Generator | None = None

    def __post_init__(self) -> None:
        """Refuse what a package refuses, and references to a size or source that does not exist."""
        self._refuse_contradictions()
        if self.fold_size not in self.sizes and self.fold_size != TEACHER:
            message = f"fold_size {self.fold_size!r} is not among the sizes"
            raise BadRecipe(message, advice=f"It has: {', '.join(self.sizes)}")
        if self.released_teacher == "ensemble" and self.fold_size != TEACHER:
            message = "released_teacher: ensemble is made of networks of size teacher"
            raise BadRecipe(message, advice="Remove fold_size, and give size teacher its network")
        self._refuse_unknown_gates()
        self._refuse_unknown_segments()
        self._refuse_unlike_stages()
        self._refuse_one_side()

    def _refuse_one_side(self) -> None:
        if not self.mirror:
            return
        for part, other in zip(self.segments, self.mirrored_classes[1:], strict=True):
            if _side_of(part) and other == part.number:
                message = f"mirror: segment {part.number} ({part.label}) has no other side"
                raise BadRecipe(message, advice="Add that segment, or remove the key mirror")

    def _refuse_contradictions(self) -> None:
        for problem in pipeline_problems(self):
            raise BadRecipe(problem, advice="Change the recipe: a package with this is refused")
        if self.data.train == self.data.test:
            message = f"data.train and data.test are the same split, {self.data.test!r}"
            raise BadRecipe(message, advice="No test case may be a training case")

    def _refuse_unknown_segments(self) -> None:
        numbers = {part.number for part in self.segments}
        if unknown := sorted(set(self.data.partial) - numbers):
            message = f"data.partial: there is no segment {unknown[0]}"
            raise BadRecipe(message, advice=f"The segments are {', '.join(map(str, numbers))}")
        targets = () if self.generator is None else self.generator.anatomy.targets.values()
        if unknown := sorted(set(targets) - numbers):
            message = f"generator.anatomy.targets: there is no segment {unknown[0]}"
            raise BadRecipe(message)

    def _refuse_unknown_gates(self) -> None:
        required = {*self.gates.dice, *self.gates.retention, *self.gates.non_inferior}
        if absent := sorted(required - set(self.sizes)):
            message = f"gates names size {absent[0]}, which the recipe does not have"
            raise BadRecipe(message, advice=f"It has: {', '.join(self.sizes)}")
        sources, labels = [one.name for one in self.external], [s.label for s in self.segments]
        for key, gate in (
            ("external", self.gates.external),
            ("volume_bias", self.gates.volume_bias),
        ):
            if unknown := sorted(gate.keys() - set(sources)):
                message = f"gates.{key}: there is no source {unknown[0]!r} in external"
                raise BadRecipe(message, advice=f"It has: {', '.join(sources) or 'none'}")
        named = {label for limits in self.gates.volume_bias.values() for label in limits}
        if unknown := sorted(named - set(labels)):
            message = f"gates.volume_bias: there is no segment with the label {unknown[0]!r}"
            raise BadRecipe(message, advice=f"The labels are: {', '.join(labels)}")

    def _refuse_unlike_stages(self) -> None:
        if self.stages is None:
            return
        if len(self.stages.widths) != len(self.strides_zyx):
            message = f"stages has {len(self.stages.widths)} stages, and strides_zyx"
            raise BadRecipe(f"{message} {len(self.strides_zyx)}", advice="Give both as many")
        for size, net in self.sizes.items():
            if net.convolutions != Net(base=1).convolutions:
                message = f"size {size}: convolutions has no effect beside stages"
                raise BadRecipe(message, advice="Change stages.convolutions, or remove it")

    @property
    def n_classes(self) -> int:
        """Background and every segment."""
        return len(self.segments) + 1

    @property
    def mirrored_classes(self) -> tuple[int, ...]:
        """The class that each class becomes in a mirror image: left and right change places.

        Segments are pairs if they differ in nothing but the laterality of their modifier.
        """
        at = {(part.category, part.type, _side_of(part)): part.number for part in self.segments}
        others = (
            at.get((part.category, part.type, OTHER_SIDE.get(_side_of(part), "")), part.number)
            for part in self.segments
        )
        return (0, *others)

    @property
    def sizes_in_order(self) -> tuple[SizeName, ...]:
        """The sizes from the largest to the smallest, then the variants."""
        return tuple(sorted(self.sizes, key=SIZE_NAMES.index))

    @property
    def training_patch_zyx(self) -> Triple:
        """Shape of the training patches; the released network works on `grid.patch_zyx`."""
        return self.training.patch_zyx or self.grid.patch_zyx

    @property
    def digest(self) -> str:
        """SHA-256 of all choices."""
        return hashlib.sha256(msgspec.json.encode(self)).hexdigest()

    def net(self, size: str) -> Net:
        """Return the choices of one size.

        Raises:
            BadRecipe: the recipe has no such size.
        """
        for name, net in self.sizes.items():
            if name == size:
                return net
        message = f"the recipe has no size {size!r}"
        raise BadRecipe(message, advice=f"It has: {', '.join(self.sizes)}")

    def training_of(self, size: str) -> Training:
        """Return the training of one size.

        Raises:
            BadRecipe: the recipe has no such size.
        """
        net, choice = self.net(size), self.training
        if net.optimiser is not None:
            choice = msgspec.structs.replace(choice, optimiser=net.optimiser)
        if net.rate is not None:
            choice = msgspec.structs.replace(choice, rate=net.rate)
        if net.steps is not None and choice.minutes is None:
            choice = msgspec.structs.replace(choice, steps=net.steps)
        return choice

    def topology(self, size: str) -> Topology:
        """Return the network of one size.

        Raises:
            BadRecipe: no such size, or the patch does not fit its strides.
        """
        net = self.net(size)
        strides, replaced = self.strides_zyx, None
        if net.stem_stride == 2:
            # the stem takes the place of one halving, so that the lowest grid is the same
            if (2, 2, 2) not in strides[1:]:
                message = (
                    f"size {size}: no stage halves all axes, which stem_stride: 2 would replace"
                )
                raise BadRecipe(message, advice="Give this size stem_stride: 1")
            replaced = strides.index((2, 2, 2), 1)
            strides = strides[:replaced] + strides[replaced + 1 :]
        if self.stages is not None:
            topology = self.stages.topology(net, strides, replaced)
        else:
            topology = uniform(
                net.base,
                strides,
                least_width=net.least_width,
                convolutions=net.convolutions,
                norm=net.norm,
                stem_stride=net.stem_stride,
            )
        topology = msgspec.structs.replace(topology, fine_width=net.fine_width)
        for patch in (self.grid.patch_zyx, self.training_patch_zyx):
            if any(edge % d for edge, d in zip(patch, topology.divisor_zyx, strict=True)):
                message = f"patch {patch} is no multiple of {topology.divisor_zyx}"
                raise BadRecipe(message, advice="Change the patch or strides_zyx")
        return topology


def read_recipe(path: Path) -> Recipe:
    """Read and check a recipe.

    Raises:
        BadRecipe: the file is absent, no YAML, or a key is wrong; the message has its path.
    """
    try:
        recipe, _ = read(path.read_text(encoding="utf-8"), Recipe)
    except NotValid as exc:
        raise BadRecipe(exc.about(f"recipe {path.name}"), advice=exc.advice) from exc
    except UnicodeDecodeError as exc:
        message = f"recipe {path.name} is not UTF-8 text"
        raise BadRecipe(message) from exc
    except OSError as exc:
        message = f"recipe {path.name} cannot be read"
        raise BadRecipe(message) from exc
    return recipe


def _side_of(part: Segment) -> str:
    """Return the code of left or right; "" where a segment has no side."""
    code = part.modifier.value if part.modifier is not None else ""
    return code if code in OTHER_SIDE else ""
