"""The segmentation node: receives DICOM studies, runs a student on the CPU, returns DICOM SEG."""

__version__ = "0.2.0"
