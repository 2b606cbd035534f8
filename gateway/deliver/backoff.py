"""How long to wait before the n-th retry: growing, bounded, spread by chance.

The random number is an argument, so the same numbers give the same times. Spread matters when a
PACS comes back and a ward of gateways has waited for it.
"""

import math
from datetime import timedelta
from typing import Final

GROWTH: Final = 1.7
SPREAD: Final = 0.2


def rest(first: timedelta, longest: timedelta, tries: int, chance: float) -> timedelta:
    """The wait after ``tries`` failures (1 or more): about ``first`` x 1.7^(tries - 1).

    ``chance`` is a number in [0, 1); it moves the wait by up to 20 % to either side. The wait is
    never longer than ``longest``, and never shorter than the smaller of 80 % of ``first`` and
    two thirds of ``longest``.
    """
    start = first.total_seconds()
    ceiling = longest.total_seconds() / (1 + SPREAD)
    if start <= 0 or ceiling <= 0:
        return timedelta(0)
    steps = max(tries - 1, 0)
    grown = (
        ceiling if steps * math.log(GROWTH) > math.log(ceiling / start) else start * GROWTH**steps
    )
    return timedelta(seconds=min(grown, ceiling) * (1 - SPREAD + 2 * SPREAD * chance))
