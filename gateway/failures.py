"""The two words for what went wrong: try again later, or a person has to look.

Protocol statuses are mapped to them at the edge only: ``dimse`` for DIMSE, ``serve`` for HTTP.
Any other exception counts as temporary and is logged as a bug.
"""


class Failure(Exception):
    """Something could not be done; the text says what, where, and what to do."""


class TemporaryFailure(Failure):
    """Worth another try: refused connection, full disk, status 0xA7xx."""


class PermanentFailure(Failure):
    """About this instance: undecodable pixels, no accepted context, status 0xA9xx or 0xCxxx."""
