"""The manifest of a model package, as strict structs: unknown fields and wrong types are refused.

Data only: no expressions, no class names, no paths that leave the folder.
`docs/reference/package-format.md` describes every field for people.
"""

from collections.abc import Iterator
from itertools import pairwise
from typing import Annotated, Any, Literal, Protocol

import msgspec
from msgspec import Meta

from node.imaging import intensity, region_steps
from node.imaging.numbers import Number, Positive, SegmentNumber
from node.imaging.orient import Orientation
from node.imaging.sharpen import Sharpen

FORMAT = 2  # raised when an older node could misread a newer package

SizeName = Literal["teacher", "large", "small", "tiny", "fast"]
# A scale: each size computes no more than the one before
SIZES: tuple[SizeName, ...] = ("teacher", "large", "small", "tiny")
VARIANTS: tuple[SizeName, ...] = ("fast",)  # beside the scale: behind a stem of stride 2
SIZE_NAMES: tuple[SizeName, ...] = (*SIZES, *VARIANTS)

Count = Annotated[int, Meta(ge=1, le=10**15)]  # operations of a patch are counted, too
Edge = Annotated[int, Meta(ge=1, le=10**4)]  # voxels
Spacing = Annotated[float, Meta(ge=0.01, le=1000)]  # mm
Digest = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$")]
FileName = Annotated[str, Meta(pattern=r"^([a-z0-9_-]+/)?[A-Za-z0-9_-][A-Za-z0-9._-]*$")]
TaskName = Annotated[str, Meta(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")]
Version = Annotated[str, Meta(pattern=r"^\d+\.\d+(\.\d+)?$")]
Channel = Annotated[int, Meta(ge=0, le=255)]


class _Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base of all structs of the manifest."""


class Code(_Strict, frozen=True, kw_only=True):
    """A coded concept: SNOMED CT has the scheme designator SCT."""

    value: str
    scheme: str
    meaning: Annotated[str, Meta(max_length=64)]


class Segment(_Strict, frozen=True, kw_only=True):
    """One structure; its number is the same in all sizes of a version."""

    number: SegmentNumber
    label: Annotated[str, Meta(min_length=1, max_length=64)]
    category: Code
    type: Code
    modifier: Code | None = None  # laterality of paired structures
    colour_rgb: tuple[Channel, Channel, Channel]


class Range(_Strict, frozen=True, kw_only=True):
    """Inclusive limits."""

    low: Number
    high: Number


class Input(_Strict, frozen=True, kw_only=True):
    """The limits inside which the model was validated; other series are unsuitable."""

    modality: Literal["MR", "CT"]
    spacing_mm: Range  # of every axis
    field_of_view_mm: Range  # of every axis
    slices: Range
    originals_only: bool = False  # refuse derived images, such as reformats
    age_years: Range | None = None  # of the patient; None: not stated


class Expected(_Strict, frozen=True, kw_only=True):
    """Plausible volume of some segments together; a result outside it is not sent."""

    what: Annotated[str, Meta(min_length=1, max_length=64)]  # for people: "the brain"
    segments: Annotated[tuple[SegmentNumber, ...], Meta(min_length=1)]
    ml: Range


class ModelGrid(_Strict, frozen=True, kw_only=True):
    """The grid of the network. Axes for LPS, slowest first: head, back, left."""

    orientation: Orientation = "LPS"
    spacing_mm_zyx: tuple[Spacing, Spacing, Spacing]
    patch_zyx: tuple[Edge, Edge, Edge]
    overlap: Annotated[float, Meta(ge=0, lt=1)] = 0.5
    resample_order: Literal[1, 3] = 3
    # across slices three times as thick as the other edges: nearest, as nnU-Net, or like the rest
    resample_thick: Literal["spline", "nearest"] = "spline"


class Size(_Strict, frozen=True, kw_only=True):
    """One network file of the family."""

    file: FileName
    parameters: Count
    macs_per_patch: Count
    width: Positive  # share of the teacher's channels
    peak_mb: Positive | None = None  # on the reference case; None: not measured yet


class Interval(_Strict, frozen=True, kw_only=True):
    """A mean over test cases with its 95 % confidence interval.

    Both ends equal the mean where there are too few cases for an interval.
    """

    mean: float
    ci: tuple[float, float]

    def words(self, form: str = ".4f") -> str:
        """Return the mean with its interval, if there is one; `form` formats each number."""
        low, high = self.ci
        if low == high:
            return f"{self.mean:{form}}"
        return f"{self.mean:{form}} ({low:{form}} to {high:{form}})"


class Metrics(_Strict, frozen=True, kw_only=True):
    """Accuracy of one size on held-out test cases."""

    cases: Count
    dice: Interval
    dice_per_segment: dict[str, Interval]
    retention: Interval | None = None  # Dice as a share of the teacher's, case by case


class Reference(_Strict, frozen=True, kw_only=True):
    """The case whose labels each size must reproduce on any machine."""

    image: FileName
    labels: dict[SizeName, FileName]
    least_dice: Annotated[float, Meta(gt=0.9, le=1)] = 0.999


class Provenance(_Strict, frozen=True, kw_only=True):
    """Where the weights come from."""

    data_sets: tuple[str, ...]
    licence: str
    training: dict[str, Any]  # recipe, seeds, steps: all that is needed to train again
    commit: str
    libraries: dict[str, str]
    created: str  # ISO 8601 date


class Manifest(_Strict, frozen=True, kw_only=True):
    """Everything about a package except its weights."""

    format: Literal[2]
    task: TaskName
    version: Version
    title: Annotated[str, Meta(max_length=64)]
    intended_use: str
    input: Input
    grid: ModelGrid
    intensity: tuple[intensity.IntensityStep, ...]
    segments: Annotated[tuple[Segment, ...], Meta(min_length=1)]
    sharpen: Sharpen | None = None  # weigh scores with the image's intensities
    regions: tuple[region_steps.RegionStep, ...] = ()
    expect: tuple[Expected, ...] = ()
    sizes: Annotated[dict[SizeName, Size], Meta(min_length=1)]
    metrics: dict[SizeName, Metrics]
    reference: Reference
    provenance: Provenance
    files: dict[FileName, Digest]  # SHA-256 of every file except the manifest

    @property
    def numbers(self) -> tuple[int, ...]:
        """Segment numbers, ascending."""
        return tuple(segment.number for segment in self.segments)


class Described(Protocol):
    """What a manifest and the recipe that it is made from have in common."""

    @property
    def input(self) -> Input:
        """The series that the model accepts."""

    @property
    def intensity(self) -> tuple[intensity.IntensityStep, ...]:
        """The steps before the network."""

    @property
    def segments(self) -> tuple[Segment, ...]:
        """The structures."""

    @property
    def sharpen(self) -> Sharpen | None:
        """The intensity model, if any."""

    @property
    def regions(self) -> tuple[region_steps.RegionStep, ...]:
        """The steps after the network."""

    @property
    def expect(self) -> tuple[Expected, ...]:
        """Volumes of any patient."""


def pipeline_problems(described: Described) -> list[str]:
    """Return the contradictions between the fields that describe the pipeline, as messages."""
    messages = []
    numbers = tuple(segment.number for segment in described.segments)
    if not numbers or numbers != tuple(range(1, len(numbers) + 1)):
        messages.append("segments must be numbered 1, 2, 3 … in order")
    labels = [segment.label for segment in described.segments]
    messages += [
        f"two segments have the label {name!r}" for name in {*labels} if labels.count(name) > 1
    ]
    for step in described.regions:
        absent = set(step.segments) - set(numbers)
        messages += [f"regions name segment {number}, which is absent" for number in sorted(absent)]
    messages += _alike_problems(described.sharpen, numbers)
    for expected in described.expect:
        absent = set(expected.segments) - set(numbers)
        messages += [f"expect names segment {number}, which is absent" for number in sorted(absent)]
    accepted = described.input
    ranges = [accepted.spacing_mm, accepted.field_of_view_mm, accepted.slices]
    ranges += [accepted.age_years] if accepted.age_years else []
    for limits in ranges + [expected.ml for expected in described.expect]:
        if limits.low > limits.high:
            messages.append(f"a range is reversed: {limits.low:g} to {limits.high:g}")
    for one in described.intensity:
        if isinstance(one, intensity.Clip | intensity.ClipPercentiles) and one.low >= one.high:
            messages.append(f"intensity clips to nothing: {one.low:g} to {one.high:g}")
    return messages


def problems(manifest: Manifest) -> list[str]:
    """Return the contradictions between fields, as messages."""
    messages = pipeline_problems(manifest)
    named = [size.file for size in manifest.sizes.values()]
    named += [manifest.reference.image, *manifest.reference.labels.values()]
    messages += [
        f"{name} has no digest under files" for name in named if name not in manifest.files
    ]
    for size in manifest.sizes:
        if size not in manifest.reference.labels:
            messages.append(f"size {size} has no reference labels")
    return [*messages, *_scale_problems(manifest)]


def _alike_problems(sharpen: Sharpen | None, numbers: tuple[int, ...]) -> Iterator[str]:
    groups = () if sharpen is None else sharpen.alike
    listed = [number for group in groups for number in group]
    for number in sorted({*listed} - {*numbers}):
        yield f"sharpen.alike names segment {number}, which is absent"
    for number in sorted({n for n in listed if listed.count(n) > 1}):
        yield f"sharpen.alike names segment {number} twice"


def _scale_problems(manifest: Manifest) -> Iterator[str]:
    macs = [(name, manifest.sizes[name].macs_per_patch) for name in scale_of(manifest)]
    for (larger, fewer), (smaller, more) in pairwise(macs):
        if more > fewer:
            yield f"size {smaller} computes {more} MACs per patch, more than {larger} ({fewer})"


def scale_of(manifest: Manifest) -> list[SizeName]:
    """Return the sizes on the scale, largest first; variants are left out."""
    return sorted((size for size in manifest.sizes if size in SIZES), key=SIZES.index)


def smallest(manifest: Manifest) -> SizeName:
    """Return the smallest size on the scale; a variant only where there is no other size."""
    return (scale_of(manifest) or list(manifest.sizes))[-1]


def next_smaller(manifest: Manifest, name: str) -> SizeName | None:
    """Return the next smaller size on the scale; None where there is none.

    From a variant it is the largest size that computes less.
    """
    scale = scale_of(manifest)
    if name in SIZES:
        smaller = [size for size in scale if SIZES.index(size) > SIZES.index(name)]
    else:
        macs: dict[str, int] = {size: net.macs_per_patch for size, net in manifest.sizes.items()}
        smaller = [size for size in scale if macs[size] < macs[name]]
    return smaller[0] if smaller else None


def restrict(manifest: Manifest, numbers: tuple[int, ...]) -> Manifest:
    """Return the manifest with these segments only, for reference labels without the others."""
    known = tuple(part for part in manifest.segments if part.number in numbers)
    return msgspec.structs.replace(manifest, segments=known)
