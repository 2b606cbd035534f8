"""The wire forms of DICOMweb (PS3.18): media types, multipart, query parameters. No I/O."""
