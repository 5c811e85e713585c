"""The part of nnU-Net's plans.json that an import reads, as structs that refuse broken files.

nnU-Net writes more keys; they do not matter here. A cascade or a 2D configuration passes and is
refused by its name later.
"""

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from kd.errors import BadTeacher

Whole = Annotated[int, Meta(ge=1, le=10**4)]
Length = Annotated[float, Meta(gt=0, le=1e4)]
Number = Annotated[float, Meta(ge=-1e9, le=1e9)]
Axis = Annotated[int, Meta(ge=0, le=2)]
PerAxis = Whole | tuple[Whole, ...]
PerStage = Whole | tuple[Whole, ...]


class _Kwargs(msgspec.Struct, frozen=True):
    n_stages: Annotated[int, Meta(ge=2, le=32)]
    features_per_stage: tuple[Whole, ...]
    kernel_sizes: tuple[PerAxis, ...]
    strides: tuple[PerAxis, ...]
    n_conv_per_stage_decoder: PerStage
    norm_op: str
    n_conv_per_stage: PerStage | None = None
    n_blocks_per_stage: PerStage | None = None
    norm_op_kwargs: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        """Refuse lists that do not have an entry for each stage."""
        lists = (self.features_per_stage, self.kernel_sizes, self.strides)
        blocks = self.n_blocks_per_stage or self.n_conv_per_stage
        decoder = self.n_conv_per_stage_decoder
        is_right = all(len(values) == self.n_stages for values in lists) and blocks is not None
        is_right &= not isinstance(blocks, tuple) or len(blocks) == self.n_stages
        is_right &= not isinstance(decoder, tuple) or len(decoder) == self.n_stages - 1
        if not is_right:
            message = f"a list has not one entry for each of {self.n_stages} stages"
            raise ValueError(message)


class _Architecture(msgspec.Struct, frozen=True):
    network_class_name: str
    arch_kwargs: _Kwargs


class _Configuration(msgspec.Struct, frozen=True):
    patch_size: tuple[Whole, ...]
    spacing: tuple[Length, ...]
    normalization_schemes: Annotated[tuple[str, ...], Meta(min_length=1)]
    use_mask_for_norm: Annotated[tuple[bool, ...], Meta(min_length=1)]
    architecture: _Architecture | None = None
    resampling_fn_data_kwargs: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        """Refuse a spacing, kernels or strides of other axes than the patch."""
        kwargs = None if self.architecture is None else self.architecture.arch_kwargs
        per_axis = () if kwargs is None else (*kwargs.kernel_sizes, *kwargs.strides)
        lists = [self.spacing, *(one for one in per_axis if isinstance(one, tuple))]
        if any(len(one) != len(self.patch_size) for one in lists):
            message = "spacing, kernel_sizes or strides have other axes than patch_size"
            raise ValueError(message)


class _Intensities(msgspec.Struct, frozen=True):
    mean: Number
    std: Annotated[float, Meta(ge=0, le=1e9)]
    percentile_00_5: Number
    percentile_99_5: Number


class _Plans(msgspec.Struct, frozen=True):
    transpose_forward: tuple[Axis, Axis, Axis]
    original_median_shape_after_transp: tuple[Length, Length, Length]
    original_median_spacing_after_transp: tuple[Length, Length, Length]
    foreground_intensity_properties_per_channel: dict[str, _Intensities] = msgspec.field(
        default_factory=dict
    )

    def __post_init__(self) -> None:
        """Refuse an order that names an axis twice."""
        if len(set(self.transpose_forward)) < len(self.transpose_forward):
            message = "transpose_forward names an axis twice"
            raise ValueError(message)


def refuse_broken(plans: object, configuration: object, folder: str) -> None:
    """Refuse plans of which a key is missing, or has another type or an impossible value.

    Args:
        plans: content of plans.json.
        configuration: the chosen one, with what it inherits.
        folder: name of the results folder, for the message.

    Raises:
        BadTeacher: the message has the path of the key.
    """
    for content, kind, where in (
        (plans, _Plans, "plans.json"),
        (configuration, _Configuration, "plans.json, configuration"),
    ):
        try:
            msgspec.convert(content, kind)
        except msgspec.ValidationError as exc:
            message = f"{folder}/{where}: {exc}"
            raise BadTeacher(message, advice="Give the folder as nnU-Net wrote it") from exc
