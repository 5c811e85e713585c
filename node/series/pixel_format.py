"""How the pixels of one image are stored (PS3.3 C.7.6.3, PS3.5 8.1).

Guarantee: an attribute that is absent or unreadable is None or empty, never guessed.
"""

import msgspec
from pydicom.dataset import Dataset

from node.series.values import code, whole_number

GREYSCALE = frozenset({"MONOCHROME1", "MONOCHROME2"})
BITS = (8, 16, 32)  # that are decoded
COLOUR = frozenset({"RGB", "PALETTE COLOR", "HSV", "ARGB", "CMYK", "XYB"})
COLOUR_PREFIX = "YBR"
COLOUR_PRESENTATIONS = frozenset({"COLOR", "TRUE_COLOR"})  # Pixel Presentation, PS3.3 C.8.16.2


class PixelFormat(msgspec.Struct, frozen=True, kw_only=True):
    """The attributes that define which bits of a pixel hold its value."""

    data: str = "PixelData"  # keyword of the element with the pixels; empty if there is none
    samples_per_pixel: int | None = None
    photometric: str = ""
    bits_allocated: int | None = None
    bits_stored: int | None = None
    high_bit: int | None = None  # Bits Stored - 1 if absent
    representation: int | None = None  # 0: unsigned, 1: two's complement
    presentation: str = ""  # Pixel Presentation: COLOR for grey values with colours above them

    @property
    def is_colour(self) -> bool:
        """Whether the values are colours or indices of colours."""
        has_samples = self.samples_per_pixel is not None and self.samples_per_pixel > 1
        return (
            has_samples
            or self.presentation in COLOUR_PRESENTATIONS
            or self.photometric in COLOUR
            or self.photometric[:3] == COLOUR_PREFIX
        )


def pixel_format_of(dataset: Dataset, data: str = "PixelData") -> PixelFormat:
    """Read the pixel attributes of `dataset`; `data` is the keyword of its pixel element."""
    return PixelFormat(
        data=data,
        samples_per_pixel=whole_number(dataset, "SamplesPerPixel"),
        photometric=code(dataset, "PhotometricInterpretation"),
        bits_allocated=whole_number(dataset, "BitsAllocated"),
        bits_stored=whole_number(dataset, "BitsStored"),
        high_bit=whole_number(dataset, "HighBit"),
        representation=whole_number(dataset, "PixelRepresentation"),
        presentation=code(dataset, "PixelPresentation"),
    )


def format_problem(pixels: PixelFormat) -> str:
    """Return why the pixels are no grey values in a form that is decoded; empty if they are.

    Bits Allocated and Bits Stored are known.
    """
    allocated, stored, high = pixels.bits_allocated, pixels.bits_stored, pixels.high_bit
    assert allocated is not None
    assert stored is not None
    is_grey = pixels.samples_per_pixel == 1 and pixels.photometric in GREYSCALE
    checks = (
        (pixels.data == "PixelData", f"the pixels are floating-point numbers ({pixels.data})"),
        (is_grey, f"Photometric Interpretation is {pixels.photometric}, not MONOCHROME1 or 2"),
        (allocated in BITS, f"Bits Allocated is {allocated}, not 8, 16 or 32"),
        (1 <= stored <= allocated, f"Bits Stored is {stored}, and Bits Allocated {allocated}"),
        (
            high is None or stored - 1 <= high < allocated,
            f"High Bit is {high}, Bits Stored {stored} and Bits Allocated {allocated}",
        ),
        (
            pixels.representation in (0, 1),
            f"Pixel Representation is {pixels.representation}, not 0 or 1",
        ),
    )
    return next((problem for is_right, problem in checks if not is_right), "")
