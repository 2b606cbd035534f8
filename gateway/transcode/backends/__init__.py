"""The decoder libraries, one module each: ``name``, ``requires``, ``version``, ``supports``,
``decode``. Each imports its library at the first use and states its refusals in DICOM terms.
"""
