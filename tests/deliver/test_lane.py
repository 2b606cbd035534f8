from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.deliver.lane import Lane

NOW = datetime(2024, 5, 6, 12, tzinfo=UTC)
REST = timedelta(seconds=30)
LATER = NOW + REST


@pytest.mark.parametrize(
    ("story", "window", "failures", "closed"),
    [
        ("", 1, 0, False),
        ("s", 2, 0, False),
        ("sss", 4, 0, False),
        ("ssssss", 4, 0, False),
        ("sssf", 1, 1, False),
        ("sssff", 1, 2, False),
        ("sssfff", 1, 3, True),
        ("sssffs", 2, 0, False),
        ("ffa", 1, 0, False),
        ("ffaff", 1, 2, False),
        ("sssa", 4, 0, False),
        ("c", 1, 1, True),
        ("cr", 1, 1, False),
        ("cs", 2, 0, False),
        ("ca", 1, 0, False),
    ],
)
def test_the_window_opens_by_success_shuts_by_failure_and_rests_after_three(
    story: str, window: int, failures: int, closed: bool
) -> None:
    lane = Lane(limit=4)
    for letter in story:
        lane = step(lane, letter)
    assert (lane.window, lane.failures, lane.closed(NOW)) == (window, failures, closed)


def test_a_lane_rests_from_the_failure_until_its_time_and_reopens_for_one_probe() -> None:
    lane = Lane(limit=4, window=4).failed(NOW, REST, at_once=True)
    assert lane.room(0, NOW) == 0
    assert lane.room(0, LATER - timedelta(microseconds=1)) == 0
    assert lane.room(0, LATER) == 1
    assert lane.room(1, LATER) == 0


def test_a_clock_set_back_does_not_prolong_the_rest() -> None:
    lane = Lane(limit=4).failed(NOW, REST, at_once=True)
    assert lane.room(0, NOW - timedelta(days=1)) == 1


def test_failures_go_on_counting_across_rests_so_that_the_rest_can_grow() -> None:
    lane = Lane(limit=4)
    for tries in range(1, 6):
        lane = lane.failed(NOW, REST, at_once=True)
        assert lane.failures == tries


def test_more_running_than_the_window_leaves_no_room() -> None:
    assert Lane(limit=4, window=1).room(3, NOW) == 0


@given(st.text("sfarc", max_size=40), st.integers(1, 9), st.integers(0, 12))
def test_whatever_happens_the_window_stays_between_one_and_the_limit(
    story: str, limit: int, running: int
) -> None:
    lane = Lane(limit=limit)
    for letter in story:
        lane = step(lane, letter)
        assert 1 <= lane.window <= limit
        assert 0 <= lane.room(running, LATER) <= limit
        assert lane.room(0, LATER) >= 1, "no lane is closed for good"


def step(lane: Lane, letter: str) -> Lane:
    match letter:
        case "s":
            return lane.succeeded()
        case "a":
            return lane.answered()
        case "r":
            return lane.reopened()
        case _:
            return lane.failed(NOW, REST, at_once=letter == "c")
