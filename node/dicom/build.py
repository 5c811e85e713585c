"""Set elements of a data set by keyword; a keyword that DICOM does not define is a mistake here."""

from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset


def new_dataset(**elements: object) -> Dataset:
    """Return a data set, such as an item of a sequence, with these elements."""
    dataset = Dataset()
    set_elements(dataset, **elements)
    return dataset


def coded(value: str, scheme: str, meaning: str) -> Dataset:
    """Return a coded concept as an item of a sequence (PS3.3 section 8.8)."""
    return new_dataset(CodeValue=value, CodingSchemeDesignator=scheme, CodeMeaning=meaning)


def set_elements(dataset: Dataset, **elements: object) -> None:
    """Set elements by keyword (PS3.6)."""
    for keyword, value in elements.items():
        assert tag_for_keyword(keyword) is not None, keyword
        setattr(dataset, keyword, value)
