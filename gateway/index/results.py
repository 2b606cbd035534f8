"""What a search gives, and when it gives nothing."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass

from gateway.failures import PermanentFailure


class TooBroad(PermanentFailure):
    """A search for which too many files would have to be read: status 413."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The results of a search: ``pages`` yields DICOM JSON objects, some at a time.

    ``matches`` is how many match in all, None where nobody has counted them; ``more`` whether
    some follow behind the last of the results; ``remarks`` what could not be looked at.
    """

    pages: AsyncGenerator[list[bytes], None]
    results: int
    matches: int | None
    more: bool
    remarks: tuple[str, ...] = ()
