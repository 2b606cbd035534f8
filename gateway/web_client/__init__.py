"""The DICOMweb user agent: what asks origin servers, with authentication, limits and retries."""
