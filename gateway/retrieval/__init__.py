"""Studies brought from an origin server into the spool: all that it lists, or it is said what not.

Used by who fetches (``receive``) and by who serves what is elsewhere (``serve``).
"""

from gateway.retrieval.plan import Scope
from gateway.retrieval.retrieval import Held, NothingThere, Retrieval, Retrieved

__all__ = ["Held", "NothingThere", "Retrieval", "Retrieved", "Scope"]
