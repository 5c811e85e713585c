"""Set elements of a data set by keyword; a keyword that DICOM does not define is a mistake here."""

from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset


def new_dataset(**elements: object) -> Dataset:
    """Return a data set, such as an item of a sequence, with these elements."""
    dataset = Dataset()
    set_elements(dataset, **elements)
    return dataset


def set_elements(dataset: Dataset, **elements: object) -> None:
    """Set elements by keyword (PS3.6)."""
    for keyword, value in elements.items():
        assert tag_for_keyword(keyword) is not None, keyword
        setattr(dataset, keyword, value)
