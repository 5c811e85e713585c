"""Define the parts of a recipe: networks, training, augmentation, synthesis and gates.

Each part is a frozen struct that refuses unknown keys. `kd.recipe.read` puts them together.
"""

from typing import Literal

import msgspec

from kd.errors import BadRecipe
from kd.recipe.bounds import (
    Amount,
    AtLeastOne,
    Batch,
    Channels,
    Convolutions,
    Count,
    Degrees,
    Edge,
    Fine,
    FineWidth,
    KernelEdge,
    Knots,
    LabelId,
    LeastShare,
    Norm,
    PartialShare,
    Positive,
    Rate,
    Seed,
    SegmentNumber,
    Share,
    Small,
    Strict,
    Stride,
    Voxels,
    Width,
)
from node.package.manifest import SizeName

WIDEST = 320  # channels; nnU-Net's limit for 3D

Triple = tuple[int, int, int]
Edges = tuple[Edge, Edge, Edge]
Kernels = tuple[KernelEdge, KernelEdge, KernelEdge]
Strides = tuple[Stride, Stride, Stride]
Kind = Literal["adamw", "muon"]


class Topology(Strict, frozen=True, kw_only=True):
    """The architecture of a network, apart from its weights and its number of classes."""

    widths: tuple[Width, ...]  # channels of each stage, full resolution first
    strides_zyx: tuple[Strides, ...]  # of the first convolution of each stage
    kernels_zyx: tuple[Kernels, ...]
    convolutions: tuple[Convolutions, ...]  # of each encoder stage
    decoder_convolutions: tuple[Convolutions, ...]  # of each decoder stage, lowest resolution first
    norm: Literal["instance", "batch"] = "instance"
    blocks: Literal["plain", "residual"] = "plain"
    stem_stride: Literal[1, 2] = 1  # 2: all stages work at half resolution
    # channels of a last decoder stage at full resolution, above a stem of stride 2; 0: none
    fine_width: FineWidth = 0

    def __post_init__(self) -> None:
        """Refuse lists of different lengths, and a fine stage above full resolution."""
        n = len(self.widths)
        lengths = {n, len(self.strides_zyx), len(self.kernels_zyx), len(self.convolutions)}
        if len(lengths) > 1 or len(self.decoder_convolutions) != n - 1 or n < 2:
            message = "a topology has one width, stride, kernel and count for each of its stages"
            raise BadRecipe(message)
        if self.fine_width and self.stem_stride == 1:
            message = f"fine_width: {self.fine_width} has no effect without stem_stride: 2"
            raise BadRecipe(message, advice="Remove fine_width, or give the size stem_stride: 2")

    @property
    def divisor_zyx(self) -> Triple:
        """Product of all strides; a patch must be a multiple of it along each axis."""
        product: list[int] = [self.stem_stride] * 3
        for stride in self.strides_zyx:
            product = [p * s for p, s in zip(product, stride, strict=True)]
        return (product[0], product[1], product[2])


def uniform(
    base: int,
    strides_zyx: tuple[Triple, ...],
    *,
    least_width: int = 1,
    convolutions: int = 2,
    norm: Literal["instance", "batch"] = "instance",
    stem_stride: Literal[1, 2] = 1,
) -> Topology:
    """Return a plain topology whose width doubles from `base` with every stage, up to 320.

    Stages that would be narrower than `least_width` get that width.
    """
    stages = len(strides_zyx)
    return Topology(
        widths=tuple(min(max(base << i, least_width), WIDEST) for i in range(stages)),
        strides_zyx=strides_zyx,
        kernels_zyx=((3, 3, 3),) * stages,
        convolutions=(convolutions,) * stages,
        decoder_convolutions=(convolutions,) * (stages - 1),
        norm=norm,
        stem_stride=stem_stride,
    )


class Net(Strict, frozen=True, kw_only=True):
    """One size of the family: all sizes have the same stages; width, norm and stem may differ."""

    base: Channels  # channels at full resolution; doubled by each stage, up to 320
    least_width: Channels = 1  # of every stage: few channels cannot separate many classes
    inherits: bool = False  # initialised from its teacher's strongest channels (kd.networks)
    norm: Literal["instance", "batch"] = "instance"
    stem_stride: Literal[1, 2] = 1  # 2: faster, works at half resolution
    # channels of a last decoder stage at full resolution, above a stem of stride 2; 0: none
    fine_width: FineWidth = 0
    convolutions: Convolutions = 2
    optimiser: Kind | None = None  # instead of training.optimiser
    rate: Rate | None = None  # instead of training.rate: narrow networks tolerate a higher one
    steps: Count | None = None  # instead of training.steps, such as more for the teacher


class Training(Strict, frozen=True, kw_only=True):
    """How one network is trained; the schedule runs over the share of the budget that is spent."""

    batch: Batch = 4
    optimiser: Kind = "adamw"
    rate: Rate = 2e-3
    warm_up: PartialShare = 0.03  # share of the budget
    power: Small = 0.9  # of the polynomial decay
    weight_decay: Small = 0.01
    clip_norm: Norm = 12.0  # nnU-Net's
    ema: PartialShare = 0.995
    seed: Seed = 1
    steps: Count | None = 1000
    minutes: Positive | None = None
    foreground_share: Share = 0.33  # of patches centred on a structure, in cases beyond the patch
    balance: Share = 0.0  # initial class balance of the cross-entropy (kd.training.losses)
    # train only the fine stages (fine_width); all other weights stay those of the run of --start
    fine_stage_only: bool = False
    is_thin: bool = False  # compute the loss at one voxel of eight: cheap with many classes
    patch_zyx: Edges | None = None  # instead of grid.patch_zyx: smaller patches, more steps
    checkpoint_every_s: Amount = 60.0


class Distillation(Strict, frozen=True, kw_only=True):
    """How a student learns from its teacher besides the reference labels.

    `kd.training.losses` has the formulas. The defaults are those of the released families.
    """

    kl: Amount = 1.0  # weight of the KL divergence; 0 switches it off
    temperature: Positive = 1.0
    has_class_weights: bool = False  # each class weighs the same, whatever its volume
    ramp: Share = 0.12  # share of the budget over which the teacher's weight grows to 1
    fade: Share = 0.4  # share after which it falls, to 0 at the end; 1: never


class Gates(Strict, frozen=True, kw_only=True):
    """Minimum results of a release, on the test cases unless stated otherwise."""

    # minimum mean Dice of a size, and its minimum share of the teacher's
    dice: dict[SizeName, Share] = msgspec.field(default_factory=dict)
    retention: dict[SizeName, Amount] = msgspec.field(default_factory=dict)
    non_inferior: tuple[SizeName, ...] = ()  # sizes that must be non-inferior, at 95 %
    margin_dice: Amount = 0.005
    margin_nsd: Amount = 0.01
    margin_hd95_mm: Amount = 0.25
    # by external source: least retention of a size; largest bias of a volume, in percent, by label
    external: dict[str, dict[SizeName, Amount]] = msgspec.field(default_factory=dict)
    volume_bias: dict[str, dict[str, Amount]] = msgspec.field(default_factory=dict)


class Augment(Strict, frozen=True, kw_only=True):
    """How strongly augmented views differ; a probability of 0 switches an effect off."""

    # flip left and right in half of the views, and average the teacher's soft targets over both.
    # Off by default: it is wrong wherever a structure has a side
    mirror_left: bool = False
    rotate_p: Share = 0.4
    rotate_degrees: Degrees = 20.0
    scale_p: Share = 0.4
    scale_share: PartialShare = 0.25  # up to 25 % larger or smaller
    shift_voxels: Voxels = 4.0
    elastic_p: Share = 0.3
    elastic_voxels: Voxels = 2.5  # standard deviation of the displacement at the control points
    elastic_every: Edge = 12  # voxels between control points
    noise_p: Share = 0.25
    noise_std: Small = 0.15  # of a z-scored image
    brightness_p: Share = 0.3
    brightness_share: Share = 0.3
    contrast_p: Share = 0.3
    contrast_share: Share = 0.35
    gamma_p: Share = 0.3
    gamma_log: Small = 0.4  # natural logarithm of the strongest exponent
    low_resolution_p: Share = 0.2
    low_resolution_least: LeastShare = 0.5


class Anatomy(Strict, frozen=True, kw_only=True):
    """What the ids of the label maps mean."""

    # id -> segment; every other id is background in the target
    targets: dict[LabelId, SegmentNumber]
    # pairs of a left and a right id of the same tissue: they share an intensity, and are swapped
    # when an anatomy is mirrored
    sides: tuple[tuple[LabelId, LabelId], ...] = ()
    # groups of ids that look alike in most scans, such as grey matter
    alike: tuple[tuple[LabelId, ...], ...] = ()
    outside: tuple[LabelId, ...] = ()  # ids that skull stripping removes
    outside_from: LabelId = 500  # and all ids from here on

    def __post_init__(self) -> None:
        """Refuse an id that is in two pairs or two groups."""
        paired = [number for pair in self.sides for number in pair]
        if len(set(paired)) != len(paired):
            message = "anatomy.sides names an id twice"
            raise BadRecipe(message)
        alike = [number for group in self.alike for number in group]
        if len(set(alike)) != len(alike):
            message = "anatomy.alike names an id twice"
            raise BadRecipe(message)


class Contrast(Strict, frozen=True, kw_only=True):
    """Approximate tissue intensities of one kind of scan: T1, T2, FLAIR and the like."""

    name: str
    share: Share  # of the synthetic images
    means: tuple[Share, ...]  # of each group of `anatomy.alike`, from 0 to 1


class Generator(Strict, frozen=True, kw_only=True):
    """How images are synthesised from label maps; a probability of 0 switches an effect off."""

    anatomy: Anatomy
    # voxels of the label maps along each axis that make one voxel of the model's grid
    fine: Fine = 2

    mirror_p: Share = 0.5
    rotate_degrees: Degrees = 15.0
    scale_share: PartialShare = 0.18
    shear: Share = 0.02
    elastic_voxels: Voxels = 4.0  # fine ones; largest standard deviation at the control points
    elastic_every: Edge = 32  # fine voxels between control points

    # kinds of scan with a fixed share of the images; the remaining images have a random contrast
    contrasts: tuple[Contrast, ...] = ()
    contrast_spread: Amount = 0.06  # standard deviation of a group's mean between scans of a kind
    alike_p: Share = 0.6  # of images with a random contrast: structures of a group look alike
    alike_spread: Amount = 0.06  # standard deviation between structures that look alike
    std_high: Positive = 0.10  # of intensities within a structure; means are from 0 to 1
    air_p: Share = 0.85  # dark air; otherwise any intensity, as after some filters
    strip_p: Share = 0.3
    bias_log: Small = 0.35
    bias_knots: Knots = 4
    thick_p: Share = 0.5
    thick_high: AtLeastOne = 3.2  # slice thickness in voxels of the model's grid
    smooth_p: Share = 0.5
    smooth_high: AtLeastOne = 1.8  # in-plane resolution, likewise
    noise_std: Small = 0.04
    crop_p: Share = 0.2
    crop_share: Share = 0.35  # of the patch, from one side
    # the node normalises by the statistics of a whole scan with its air, unknown to a patch
    air_share: Amount = 0.6
    scale_jitter: PartialShare = 0.25
    shift_jitter: Amount = 0.25

    def __post_init__(self) -> None:
        """Refuse contrasts that do not fit the groups, and shares that exceed 1 in sum."""
        for one in self.contrasts:
            if len(one.means) != len(self.anatomy.alike):
                groups = len(self.anatomy.alike)
                message = f"contrast {one.name} has {len(one.means)} means for {groups} groups"
                raise BadRecipe(message, advice="Give one for each group of anatomy.alike")
        if sum(one.share for one in self.contrasts) > 1 + 1e-9:
            message = "the shares of generator.contrasts are more than 1 together"
            raise BadRecipe(message)
