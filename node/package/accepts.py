"""Check a series against the limits of a package, and a result against plausible volumes."""

from collections.abc import Mapping

from node.errors import (
    DerivedInput,
    ImplausibleResult,
    OutsideModelRange,
    TooFewSlices,
    WrongModality,
)
from node.imaging import Grid
from node.package.manifest import Expected, Input, Range

IMPLAUSIBLE = (
    "Look at the images: do they show all of the anatomy that the model segments? If not, exclude "
    "such series by a rule."
)
ADVICE = "The model was not validated for such images. Send a series inside these limits."


def check_input(
    accepted: Input,
    grid: Grid,
    modality: str | None = None,
    derived: str = "",
) -> None:
    """Refuse a series for which the model was not validated.

    Args:
        accepted: the limits of the package.
        grid: the source grid; array axis 0 counts its slices.
        modality: of the series; None for a NIfTI file.
        derived: how the images were derived, in words; empty for original images.

    Raises:
        WrongModality: the modality differs from the model's.
        TooFewSlices: fewer slices than the model needs.
        OutsideModelRange: a value is outside its limits; the message has both.
        DerivedInput: the model takes original images only.
    """
    if derived and accepted.originals_only:
        message = f"the model takes original images only: {derived}"
        raise DerivedInput(message, advice="Send the series as the scanner reconstructed it.")
    if modality is not None and modality != accepted.modality:
        message = f"modality is {modality}, the model expects {accepted.modality}"
        raise WrongModality(message, advice="Choose the model by `when: {modality: …}` in a rule.")
    slices = grid.shape[0]
    if slices < accepted.slices.low:
        message = f"{slices} slices, the model needs at least {accepted.slices.low:g}"
        raise TooFewSlices(message, advice="Send the whole series, or one with more slices.")
    _inside("number of slices", slices, accepted.slices, "")
    for spacing in grid.spacing_mm:
        _inside("voxel spacing", spacing, accepted.spacing_mm, " mm")
    for extent in grid.extent_mm:
        _inside("field of view", extent, accepted.field_of_view_mm, " mm")


def check_result(expected: tuple[Expected, ...], volumes_ml: Mapping[int, float]) -> None:
    """Refuse implausible volumes: another part of the body, or a structure that is cut away.

    A network segments its structures in any image, also a brain in an image of a knee. Only the
    volumes show that.

    Args:
        expected: the package's limits for some segments together.
        volumes_ml: volume of each segment number.

    Raises:
        ImplausibleResult: a volume is outside its limits; the message has both.
    """
    for one in expected:
        volume = sum(volumes_ml[number] for number in one.segments)
        if not one.ml.low <= volume <= one.ml.high:
            limits = f"{one.ml.low:g} to {one.ml.high:g} ml"
            message = f"{one.what}, as segmented, has {volume:.4g} ml, outside {limits}"
            raise ImplausibleResult(message, advice=IMPLAUSIBLE)


def _inside(quantity: str, value: float, limits: Range, unit: str) -> None:
    if not limits.low <= value <= limits.high:
        message = (
            f"{quantity} of {value:.4g}{unit} is outside {limits.low:g} to {limits.high:g}{unit}"
        )
        raise OutsideModelRange(message, advice=ADVICE)
