"""Reasons why a model cannot segment a series; nothing is broken."""

from node.errors.base import NodeError


class Unsuitable(NodeError):
    """The model cannot segment this series, and nothing is broken."""

    code = "unsuitable"


class NotAnImage(Unsuitable):
    """The instances carry no pixel data that can be stacked."""

    code = "not-an-image"


class SecondaryCapture(NotAnImage):
    """Pictures of a screen or a report."""

    code = "secondary-capture"


class Localizer(NotAnImage):
    """Localizers, scouts or topograms."""

    code = "localizer"


class Projection(NotAnImage):
    """Projections (MIP, MinIP), renderings or curved reformats."""

    code = "projection"


class Subtraction(NotAnImage):
    """Differences of two images."""

    code = "subtraction"


class ParametricMap(NotAnImage):
    """Maps of a computed quantity, such as ADC, perfusion, iodine or phase."""

    code = "parametric-map"


class ThickSlab(NotAnImage):
    """Averages or projections over slabs that are thicker than a slice."""

    code = "thick-slab"


class ColourImage(NotAnImage):
    """Colours or indices of colours instead of one grey value per pixel."""

    code = "colour-image"


class MissingAttribute(Unsuitable):
    """An attribute that gives the pixels their meaning is absent."""

    code = "missing-attribute"


class UnsupportedPixels(Unsuitable):
    """The attributes of the pixels contradict each other, or describe an unsupported format."""

    code = "unsupported-pixels"


class OversizedValue(Unsuitable):
    """An element that the node reads is far longer than any image needs."""

    code = "oversized-value"


class OversizedImage(Unsuitable):
    """The pixels would decode to more bytes than the node decodes."""

    code = "oversized-image"


class UnusableRescale(Unsuitable):
    """Rescale Slope or Rescale Intercept is absent, unreadable or 0."""

    code = "unusable-rescale"


class WrongUnits(Unsuitable):
    """The values of a CT are not in Hounsfield units."""

    code = "wrong-units"


class MixedUnits(Unsuitable):
    """Some images of the series have other units than the rest, or seem to."""

    code = "mixed-units"


class WrongModality(Unsuitable):
    """The model was made for another modality, or Modality contradicts the SOP class."""

    code = "wrong-modality"


class TooFewSlices(Unsuitable):
    """Fewer slices than the model needs."""

    code = "too-few-slices"


class MissingSlice(Unsuitable):
    """A slice position is absent between others."""

    code = "missing-slice"


class UnevenSpacing(Unsuitable):
    """The distance between slices varies."""

    code = "uneven-spacing"


class GantryTilt(Unsuitable):
    """The slice positions are not aligned along the slice normal."""

    code = "gantry-tilt"


class MixedOrientation(Unsuitable):
    """The slices differ in orientation, size or spacing."""

    code = "mixed-orientation"


class DuplicatePositions(Unsuitable):
    """Two slices have the same position."""

    code = "duplicate-positions"


class FourDimensional(Unsuitable):
    """Several volumes in one series: time points, echoes, diffusion directions, stacks."""

    code = "four-dimensional"


class EnhancedMultiFrame(Unsuitable):
    """A multi-frame object whose frames cannot be identified: unsupported class, or damaged."""

    code = "enhanced-multi-frame"


class NoFrameOfReference(Unsuitable):
    """The position of the slices in the patient is unknown."""

    code = "no-frame-of-reference"


class OutsideModelRange(Unsuitable):
    """Spacing, field of view or slice count outside what the model was validated for."""

    code = "outside-model-range"


class DerivedInput(Unsuitable):
    """The images are derived, and the model takes original images only."""

    code = "derived-input"


class ImplausibleResult(Unsuitable):
    """A measured volume is outside the range that the package expects of any patient."""

    code = "implausible-result"


class UndecodablePixels(Unsuitable):
    """The pixel data is damaged, or in a compression that the node cannot decode."""

    code = "undecodable-pixels"


VERSIONS_ADVICE = (
    "Ask the sender which version is right, or let it send corrected images. Then "
    "`segnode jobs replan UID --use last` uses the last received version of each image, and "
    "`segnode jobs replan UID --use first` uses the first."
)
PARTS_ADVICE = (
    "`segnode jobs replan UID --part 1` uses the images of part 1 alone. Or correct the images at "
    "the source and send them again, then run `segnode jobs replan UID --use last`."
)


class Conflicting(Unsuitable):
    """One instance UID arrived with different contents, or a series has contradicting parts.

    A series with this problem is held; the advice names the commands that resolve it.
    """

    code = "conflicting-instances"


class ConflictingPatients(Conflicting):
    """The series of one study belong to different patients."""

    code = "conflicting-patients"
