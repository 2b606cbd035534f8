"""DICOMweb origin server (PS3.18): QIDO-RS, WADO-RS, WADO-URI and STOW-RS over what is held."""
