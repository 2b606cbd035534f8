"""When a window opens next, in its own time zone, also on the days when the clocks change."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from gateway.config.windows import parse_window
from gateway.deliver.hours import opens_at

BERLIN = ZoneInfo("Europe/Berlin")


def opens(now: str, *windows: str, zone: ZoneInfo = BERLIN) -> str:
    """Both times on the clock of ``zone``; 2026-03-29 and 2026-10-25 are when Berlin changes."""
    moment = datetime.fromisoformat(now).replace(tzinfo=zone)
    found = opens_at([parse_window(each) for each in windows], moment, zone)
    return found.astimezone(zone).isoformat(" ", "minutes")[:16]


@pytest.mark.parametrize(
    ("now", "windows", "wanted"),
    [
        ("2026-11-02 12:00", ["18:00-06:00"], "2026-11-02 18:00"),
        ("2026-11-02 23:59", ["18:00-06:00"], "2026-11-02 23:59"),
        ("2026-11-02 05:59", ["18:00-06:00"], "2026-11-02 05:59"),
        ("2026-11-02 06:00", ["18:00-06:00"], "2026-11-02 18:00"),
        ("2026-11-02 12:00", ["sat,sun"], "2026-11-07 00:00"),
        ("2026-11-02 12:00", ["mon 08:00-09:00"], "2026-11-09 08:00"),
        ("2026-11-02 12:00", ["fri 18:00-19:00", "12:30-12:45"], "2026-11-02 12:30"),
        ("2026-11-07 03:00", ["fri 22:00-04:00"], "2026-11-07 03:00"),
        ("2026-11-02 12:00", [], "2026-11-02 12:00"),
        ("2026-11-02 12:00", ["18:00-20:00 America/New_York"], "2026-11-03 00:00"),
        ("2026-10-25 01:30", ["04:00-05:00"], "2026-10-25 04:00"),
        ("2026-03-29 01:30", ["04:00-05:00"], "2026-03-29 04:00"),
    ],
)
def test_the_next_opening(now: str, windows: list[str], wanted: str) -> None:
    assert opens(now, *windows) == wanted


def test_a_window_in_an_hour_that_is_left_out_opens_on_the_next_day() -> None:
    now = datetime(2026, 3, 29, 1, 30, tzinfo=BERLIN)
    windows = [parse_window("02:30-02:45")]
    first = opens_at(windows, now, BERLIN)
    assert first == datetime(2026, 3, 29, 1, 30, tzinfo=UTC)
    then = opens_at(windows, first, BERLIN)
    assert then == datetime(2026, 3, 30, 2, 30, tzinfo=BERLIN)
