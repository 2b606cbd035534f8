"""What to ask an origin server for, when some of what it lists is missing here.

One request for much is the fastest; but what broke off is asked for in smaller pieces, so that one
bad instance does not keep the others away, and what is here is not fetched again.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import IntEnum

from gateway.model import UID


class Level(IntEnum):
    """The largest piece that is asked for."""

    STUDY = 0
    SERIES = 1
    INSTANCE = 2


@dataclass(frozen=True, slots=True)
class Scope:
    """A study, a series of it, or an instance of that; ``sop`` may stand without ``series``."""

    study: UID
    series: UID = ""
    sop: UID = ""

    def covers(self, other: "Scope") -> bool:
        """Whether all of ``other`` is in it, as far as the UIDs tell."""
        return (
            self.study == other.study
            and self.series in ("", other.series)
            and self.sop in ("", other.sop)
        )


def asks(
    scope: Scope, listed: Mapping[UID, UID], missing: Collection[UID], level: Level
) -> list[Scope]:
    """The requests that bring what is missing of a scope, none larger than ``level``.

    ``listed`` maps SOP to Series Instance UIDs. A study or series is asked for whole where at
    least half of it is missing; an instance whose series is not known only with its study.
    """
    if not missing:
        return []
    whole = Level.INSTANCE if scope.sop else Level.SERIES if scope.series else Level.STUDY
    mostly = 2 * len(missing) >= len(listed)
    if (whole >= level and mostly) or not all(listed[sop] for sop in missing):
        return [scope]
    by_series: defaultdict[UID, list[UID]] = defaultdict(list)
    for sop, series in listed.items():
        by_series[series].append(sop)
    found: list[Scope] = []
    for series, sops in by_series.items():
        gone = [sop for sop in sops if sop in missing]
        if level <= Level.SERIES and 2 * len(gone) >= len(sops):
            found.append(Scope(scope.study, series))
        else:
            found += [Scope(scope.study, series, sop) for sop in gone]
    return found
