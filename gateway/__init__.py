"""A DICOM gateway: receives compressed images, decompresses them, forwards them durably."""

__version__ = "0.1.0"
