"""So much per second and no more: how long the next request or chunk has to wait."""


class Rate:
    """A bucket that leaks ``per_second``; ``slack`` seconds' worth may go at once."""

    def __init__(self, per_second: float | None, slack: float = 1.0) -> None:
        self._cost = 0.0 if per_second is None else 1.0 / per_second
        self._slack = slack
        self._paid_until = 0.0

    def delay(self, amount: float, now: float) -> float:
        """Seconds to wait before the next ``amount`` after this one goes."""
        if not self._cost:
            return 0.0
        self._paid_until = max(self._paid_until, now - self._slack) + amount * self._cost
        return max(self._paid_until - now, 0.0)
