"""What several parts of the node need of DICOM itself: UIDs, file meta, elements, time zones.

Nothing here depends on files, series or results. Values of odd datasets are read by `node.series`.
"""

from pydicom import config

# pydicom's warnings quote odd values, which may be a patient's name or birth date; devices write
# UIDs with leading zeros. `node.seg.repair` validates the values that a result inherits.
config.settings.reading_validation_mode = config.IGNORE
config.settings.writing_validation_mode = config.IGNORE
