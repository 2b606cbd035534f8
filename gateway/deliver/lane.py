"""How hard to push one destination: the present standing of its lane.

The window is how many deliveries may be under way at once. It opens by one with each success up
to the limit and shuts to one with a failure. After ``patience`` failures in a row, or at once
when no association could be had, the lane rests; it then reopens with the window at one, so that
a single delivery probes whether the destination is back. What is about one instance (a status
0xCxxx, an undecodable image) is an answer like any other and never shuts a lane.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta


@dataclass(frozen=True, slots=True)
class Lane:
    """The standing of one destination; each method returns what it becomes.

    ``failures`` counts those in a row. The lane is closed from ``closed_from`` (included) to
    ``closed_until`` (excluded); both, so that a clock set back cannot close it for longer.
    """

    limit: int
    window: int = 1
    failures: int = 0
    closed_from: datetime | None = None
    closed_until: datetime | None = None
    patience: int = 3

    def succeeded(self) -> "Lane":
        """The destination confirmed an instance."""
        return replace(self.answered(), window=min(self.window + 1, self.limit))

    def answered(self) -> "Lane":
        """The destination refused one instance: it is there, and reads what it is sent."""
        return replace(self, failures=0, closed_from=None, closed_until=None)

    def failed(self, now: datetime, rest: timedelta, *, at_once: bool = False) -> "Lane":
        """The destination failed; it rests when that was once too often, or ``at_once``."""
        shut = replace(self, window=1, failures=self.failures + 1)
        if not at_once and shut.failures < self.patience:
            return shut
        return replace(shut, closed_from=now, closed_until=now + rest)

    def reopened(self) -> "Lane":
        """Somebody asked for a try now, whatever the lane's rest."""
        return replace(self, closed_from=None, closed_until=None)

    def closed(self, now: datetime) -> bool:
        """Whether the lane rests now."""
        if self.closed_from is None or self.closed_until is None:
            return False
        return self.closed_from <= now < self.closed_until

    def room(self, running: int, now: datetime) -> int:
        """How many more deliveries may be taken up while ``running`` are under way."""
        return 0 if self.closed(now) else max(self.window - running, 0)
