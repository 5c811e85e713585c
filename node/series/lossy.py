"""Whether an image was compressed with loss, now or at any time before (PS3.3 C.7.6.1.1.5)."""

import re

from pydicom.dataset import Dataset
from pydicom.uid import (
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    JPEG2000Lossless,
    JPEG2000MCLossless,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
)

from node.series.values import code, codes, derivation_codes, text, texts

LOSSY = frozenset({"01", "1", "YES"})  # only the first is valid, but the meaning is clear
LOSSY_WORD = re.compile(r"(?<![A-Z])(LOSSY|IRREVERSIBLE)(?![A-Z])")  # such as "JP2K LOSSY 6:1"
LOSSY_DERIVATION = "113040"  # CID 7203
JPEG = "1.2.840.10008.1.2.4."  # all syntaxes of JPEG, JPEG-LS, JPEG 2000, MPEG and JPEG XL
JPEG_XL_LOSSLESS = "1.2.840.10008.1.2.4.110"
# every other syntax of this family may lose information, even if some images in it do not
LOSSLESS = frozenset(
    {
        HTJ2KLossless, HTJ2KLosslessRPCL, JPEG2000Lossless, JPEG2000MCLossless, JPEGLossless,
        JPEGLosslessSV1, JPEGLSLossless, JPEG_XL_LOSSLESS,
    }
)  # fmt: skip


def is_lossy(dataset: Dataset) -> bool:
    """Check flag, ratio and method of lossy compression, derivation, Image Type and syntax.

    One of them is enough: archives and converters often keep only some.
    """
    if code(dataset, "LossyImageCompression") in LOSSY:
        return True
    if text(dataset, "LossyImageCompressionMethod") or LOSSY_DERIVATION in derivation_codes(
        dataset
    ):
        return True
    described = text(dataset, "DerivationDescription").upper()
    if any(LOSSY_WORD.search(value) for value in (*codes(dataset, "ImageType"), described)):
        return True
    if any(_is_above_1(ratio) for ratio in texts(dataset, "LossyImageCompressionRatio")):
        return True
    syntax = text(getattr(dataset, "file_meta", Dataset()), "TransferSyntaxUID")
    return syntax.startswith(JPEG) and syntax not in LOSSLESS


def _is_above_1(ratio: str) -> bool:
    try:
        return float(ratio) > 1
    except ValueError:
        return False
