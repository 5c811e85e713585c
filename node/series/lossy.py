"""Whether an image was compressed with loss, now or at any time before (PS3.3 C.7.6.1.1.5)."""

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

from node.series.values import code, text

LOSSY = "01"
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
    """Check the flag, the ratio and the method of lossy compression, and the transfer syntax."""
    if code(dataset, "LossyImageCompression") == LOSSY:
        return True
    if text(dataset, "LossyImageCompressionMethod"):
        return True
    syntax = text(getattr(dataset, "file_meta", Dataset()), "TransferSyntaxUID")
    return syntax.startswith(JPEG) and syntax not in LOSSLESS
