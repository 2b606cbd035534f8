"""Why no picture is made: the request is wrong, or the object holds nothing to look at."""

from gateway.failures import PermanentFailure


class WrongParameter(PermanentFailure):
    """A query parameter cannot be met; the text names it and says what is allowed."""


class NothingToShow(PermanentFailure):
    """The object has no picture of the kind asked for; the text says what it has."""


class NoSuchFrame(PermanentFailure):
    """The object has fewer frames than the number asked for."""
