"""A destination is sent so much a second and no more, whatever the clock does."""

from datetime import timedelta

import pytest

from gateway.deliver.rate import Bucket, Meter
from tests.deliver.fakes import NOON

SECOND = timedelta(seconds=1)


def taken_until(bucket: Bucket, end: float, rate: float, step: float = 0.01) -> int:
    """How many go in the seconds from noon to ``end``, looked at every ``step``."""
    count = 0
    for tick in range(round(end / step)):
        now = NOON + tick * step * SECOND
        while bucket.free_at(now) <= now:
            bucket = bucket.took(1, rate, now)
            count += 1
    return count


@pytest.mark.parametrize("rate", [0.5, 5, 40])
def test_over_a_minute_as_many_go_as_the_rate_says_and_a_second_more(rate: float) -> None:
    assert rate * 60 <= taken_until(Bucket(), 60, rate) <= rate * 61 + 1


def test_late_looks_cost_nothing() -> None:
    assert taken_until(Bucket(), 60, 5, step=0.7) >= 5 * 59


def test_what_was_not_taken_for_an_hour_is_not_all_taken_at_once() -> None:
    bucket = Bucket().took(1, 5, NOON)
    later, count = NOON + timedelta(hours=1), 0
    while bucket.free_at(later) <= later:
        bucket = bucket.took(1, 5, later)
        count += 1
    assert count <= 6


def test_a_large_one_goes_and_those_behind_it_wait_until_it_is_paid_for() -> None:
    meter = Meter().took(100_000_000, NOON, objects_per_s=None, mbit_per_s=8)
    assert meter.free_at(NOON) == NOON + 99 * SECOND


def test_each_rate_holds_by_itself() -> None:
    meter = Meter()
    for _ in range(6):
        meter = meter.took(1, NOON, objects_per_s=2, mbit_per_s=1000)
    assert meter.free_at(NOON) == NOON + 2 * SECOND
    assert meter.bits.free_at(NOON) == NOON


def test_a_clock_set_back_shuts_nothing() -> None:
    bucket = Bucket().took(10, 1, NOON)
    assert bucket.free_at(NOON) == NOON + 9 * SECOND
    before = NOON - timedelta(hours=1)
    assert bucket.free_at(before) == before
    assert bucket.took(3, 1, before).free_at(before) == before + 2 * SECOND


def test_without_a_rate_nothing_is_counted() -> None:
    assert Meter().took(1 << 40, NOON, objects_per_s=None, mbit_per_s=None) == Meter()
