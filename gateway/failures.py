"""The two words for what went wrong: try again later, or a person has to look.

Protocol statuses are mapped to them at the edge only: ``dimse`` for DIMSE, ``serve`` for HTTP.
Any other exception counts as temporary and is logged as a bug.
"""


class Failure(Exception):
    """Something could not be done; the text says what, where, and what to do.

    ``remark`` is what a peer said of it in its own words: for the ledger, not for logs, since it
    may quote a patient's data.
    """

    remark = ""


class TemporaryFailure(Failure):
    """Worth another try: refused connection, full disk, status 0xA7xx."""


class PermanentFailure(Failure):
    """About this instance: undecodable pixels, no accepted context, status 0xA9xx or 0xCxxx."""


class AlreadyThere(PermanentFailure):
    """The destination has an instance of this UID, perhaps by an earlier try: status 0x0111."""
