"""Does a series lie inside what a package was validated for, and its result in what can be?"""

from collections.abc import Mapping

from node.errors import ImplausibleResult, OutsideModelRange, TooFewSlices, WrongModality
from node.imaging import Grid
from node.package.manifest import Expected, Input, Range

IMPLAUSIBLE = (
    "Look at the images: do they show the whole of what the model outlines? If not, keep such "
    "series from it by a rule."
)
ADVICE = "The model was not validated for such images; send a series inside these limits."


def check_input(accepted: Input, grid: Grid, modality: str | None = None) -> None:
    """Refuse a grid for which the model was not validated.

    Args:
        accepted: the limits of the package.
        grid: the source grid; array axis 0 counts its slices.
        modality: of the series, where it has one (a NIfTI file does not).

    Raises:
        WrongModality: another modality than the model's.
        TooFewSlices: fewer slices than the model needs.
        OutsideModelRange: with the number that is outside, and the limits.
    """
    if modality is not None and modality != accepted.modality:
        message = f"modality {modality} is not the model's, {accepted.modality}"
        raise WrongModality(message, advice="Let a rule choose by modality.")
    slices = grid.shape[0]
    if slices < accepted.slices.low:
        message = f"{slices} slices are fewer than the {accepted.slices.low:g} that the model needs"
        raise TooFewSlices(message, advice="Send the whole series, or one with more slices.")
    _inside("number of slices", slices, accepted.slices, "")
    for spacing in grid.spacing_mm:
        _inside("voxel spacing", spacing, accepted.spacing_mm, " mm")
    for extent in grid.extent_mm:
        _inside("field of view", extent, accepted.field_of_view_mm, " mm")


def check_result(expected: tuple[Expected, ...], volumes_ml: Mapping[int, float]) -> None:
    """Refuse a result that no patient can have: another part of the body, or one cut away.

    A network finds its structures in any image; only their size tells that a knee is no brain.

    Args:
        expected: what the package expects.
        volumes_ml: of each segment number.

    Raises:
        ImplausibleResult: with what was found, and the limits.
    """
    for one in expected:
        found = sum(volumes_ml[number] for number in one.segments)
        if not one.ml.low <= found <= one.ml.high:
            message = (
                f"{one.what}, as found, has {found:.4g} ml, outside "
                f"{one.ml.low:g} to {one.ml.high:g} ml"
            )
            raise ImplausibleResult(message, advice=IMPLAUSIBLE)


def _inside(what: str, value: float, limits: Range, unit: str) -> None:
    if not limits.low <= value <= limits.high:
        wanted = f"{limits.low:g} to {limits.high:g}{unit}"
        message = f"{what} of {value:.4g}{unit} is outside {wanted}"
        raise OutsideModelRange(message, advice=ADVICE)
