"""Words for objects: each SOP class that the node sends has some."""

from pydicom.uid import KeyObjectSelectionDocumentStorage

from node.dicom import uids
from node.event_words import object_words

SENT = (
    uids.BINARY_SEG_CLASS,
    uids.LABELMAP_SEG_CLASS,
    uids.NOTICE_CLASS,
    uids.REPORT_CLASS,
    uids.RTSTRUCT_CLASS,
    uids.SECONDARY_CAPTURE_CLASS,
    KeyObjectSelectionDocumentStorage,
)


def test_each_object_that_is_sent_has_its_words() -> None:
    words = [object_words(str(uid)) for uid in SENT]
    assert "an object" not in words
    assert len(set(words)) == len(SENT)
