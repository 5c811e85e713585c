"""Does a series lie inside what a package was validated for?"""

from node.errors import OutsideModelRange, TooFewSlices, WrongModality
from node.imaging import Grid
from node.package.manifest import Input, Range

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


def _inside(what: str, value: float, limits: Range, unit: str) -> None:
    if not limits.low <= value <= limits.high:
        wanted = f"{limits.low:g} to {limits.high:g}{unit}"
        message = f"{what} of {value:.4g}{unit} is outside {wanted}"
        raise OutsideModelRange(message, advice=ADVICE)
