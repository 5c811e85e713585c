"""NIfTI files to volumes and back, for `segnode try`, reference cases and the laboratory.

SimpleITK reports physical space in LPS whatever the file says, so no sign is flipped here.
"""

import gzip
import zlib
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from node.errors import Unsuitable
from node.imaging.volume import Affine, Grid, Labels, Volume

GZIP_MAGIC = b"\x1f\x8b"
# header size -> where datatype and vox_offset are, and the type of the latter (NIfTI-1, NIfTI-2)
NIFTI_FIELDS = {348: (70, 108, "f4"), 540: (12, 168, "i8")}
NIFTI_FLOATS = {16: "f4", 64: "f8"}  # datatype -> numpy's name


def read_volume(path: Path) -> Volume:
    """Read a three-dimensional image as float32.

    Raises:
        Unsuitable: the file is not a readable image of three dimensions with finite values.
    """
    image = _read(path)
    array = sitk.GetArrayFromImage(image).astype(np.float32)
    if not np.isfinite(array).all() or _has_hidden_nan(path):
        message = f"{path.name} holds values that are not finite"
        raise Unsuitable(message, advice="Export the image again without NaN or infinity.")
    return Volume(array, _grid(image))


def read_labels(path: Path) -> Labels:
    """Read a label map; values must be whole numbers from 0 to 255.

    Raises:
        Unsuitable: the file is unreadable, or holds other values.
    """
    image = _read(path)
    array = sitk.GetArrayFromImage(image)
    with np.errstate(invalid="ignore"):  # values that do not fit are refused below
        labels = array.astype(np.uint8)
    if not np.array_equal(labels, array) or _has_hidden_nan(path):
        message = f"{path.name} is not a label map: its values are not whole numbers from 0 to 255"
        raise Unsuitable(message)
    return Labels(labels, _grid(image))


def write(image: Volume | Labels, path: Path) -> None:
    """Write values with their affine; the suffix of `path` selects the compression."""
    itk = sitk.GetImageFromArray(image.array)
    grid = image.grid
    backwards = grid.affine[:3, [2, 1, 0]]  # ITK's axes are column, row, slice
    spacing = np.linalg.norm(backwards, axis=0)
    itk.SetSpacing([float(s) for s in spacing])
    itk.SetOrigin([float(o) for o in grid.affine[:3, 3]])
    itk.SetDirection([float(d) for d in (backwards / spacing).ravel()])
    sitk.WriteImage(itk, str(path))


def _read(path: Path) -> sitk.Image:
    try:
        image = sitk.ReadImage(str(path))
    except RuntimeError as exc:
        message = f"{path.name} cannot be read as an image"
        raise Unsuitable(message, advice="Give a NIfTI file (.nii or .nii.gz).") from exc
    if image.GetDimension() != 3 or image.GetNumberOfComponentsPerPixel() != 1:
        message = f"{path.name} has not exactly three dimensions and one value per voxel"
        raise Unsuitable(message, advice="Give one volume per file.")
    return image


def _has_hidden_nan(path: Path) -> bool:
    """Check the stored floats for NaN and infinity, which ITK's reader turns into 0."""
    content = path.read_bytes()
    if content[:2] == GZIP_MAGIC:
        try:
            content = gzip.decompress(content)
        except (EOFError, zlib.error, gzip.BadGzipFile) as exc:
            message = f"{path.name} is compressed, and damaged or truncated"
            raise Unsuitable(message, advice="Copy or export the file again.") from exc
    for order in "<>":
        size = int(np.frombuffer(content[:4], order + "i4")[0])
        if size in NIFTI_FIELDS:
            kind_at, start_at, start_type = NIFTI_FIELDS[size]
            kind = int(np.frombuffer(content, order + "i2", 1, kind_at)[0])
            start = int(np.frombuffer(content, order + start_type, 1, start_at)[0])
            if kind not in NIFTI_FLOATS or start == 0:  # 0: the voxels are in another file
                return False
            stored = np.frombuffer(content, order + NIFTI_FLOATS[kind], offset=start)
            return not np.isfinite(stored).all()
    return False


def _grid(image: sitk.Image) -> Grid:
    direction = np.array(image.GetDirection()).reshape(3, 3)
    columns = direction * np.array(image.GetSpacing())
    affine: Affine = np.eye(4)
    affine[:3, :3] = columns[:, ::-1]
    affine[:3, 3] = image.GetOrigin()
    x, y, z = image.GetSize()
    return Grid((z, y, x), affine)
