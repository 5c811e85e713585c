"""Changes of a phantom's headers, for tests of what headers mean."""

from collections.abc import Callable, Collection

import numpy as np
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as DicomSequence

from tests.support.phantoms import Change

Edit = Callable[[Dataset], None]


def in_slices(edit: Edit, slices: Collection[int] | None = None) -> Change:
    """Return the change that edits some slices, counted along the normal; None: all."""

    def change(dataset: Dataset, z: int) -> None:
        if slices is None or z in slices:
            edit(dataset)

    return change


def sets(**values: object) -> Edit:
    """Return the edit that sets attributes; None removes one."""

    def edit(dataset: Dataset) -> None:
        for keyword, value in values.items():
            if value is not None:
                setattr(dataset, keyword, value)
            elif keyword in dataset:
                delattr(dataset, keyword)

    return edit


def image_type(*values: str) -> Edit:
    """Return the edit that sets Image Type."""
    return sets(ImageType=list(values))


def coded(keyword: str, code: str, scheme: str = "DCM") -> Edit:
    """Return the edit that sets a code sequence of one item."""
    return sets(**{keyword: DicomSequence([_code(code, scheme)])})


def real_world(unit: str) -> Edit:
    """Return the edit that adds a Real World Value Mapping in `unit` (UCUM)."""
    mapping = Dataset()
    mapping.RealWorldValueSlope, mapping.RealWorldValueIntercept = 1.0, 0.0
    mapping.MeasurementUnitsCodeSequence = DicomSequence([_code(unit, "UCUM")])
    return sets(RealWorldValueMappingSequence=DicomSequence([mapping]))


def modality_lut(dataset: Dataset) -> None:
    """Add a Modality LUT of two entries."""
    table = Dataset()
    table.LUTDescriptor, table.ModalityLUTType = [2, 0, 16], "US"
    table.add_new(0x00283006, "US", [0, 1])
    dataset.ModalityLUTSequence = DicomSequence([table])


def palette(dataset: Dataset) -> None:
    """Make an image of 8 bits a colour map of three tables."""
    dataset.PhotometricInterpretation = "PALETTE COLOR"
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit = 7
    for at in range(3):
        dataset.add_new(0x00281101 + at, "US", [256, 0, 16])
        dataset.add_new(0x00281201 + at, "OW", np.arange(256, dtype="<u2").tobytes())


def _code(value: str, scheme: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, value
    return item
