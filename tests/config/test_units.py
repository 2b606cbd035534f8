"""Durations and sizes: what is read, and that what is printed reads the same."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config.units import (
    Retry,
    format_duration,
    format_retry,
    format_size,
    parse_duration,
    parse_retry,
    parse_size,
)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("250ms", 0.25), ("30s", 30), ("15m", 900), ("2h", 7200), ("3d", 259200), ("1w", 604800)],
)
def test_a_duration_is_a_number_and_a_unit(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    ("text", "size"),
    [("1B", 1), ("64KiB", 65536), ("512MiB", 512 << 20), ("5GB", 5 * 10**9), ("1TiB", 1 << 40)],
)
def test_a_size_is_a_number_and_a_unit(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text", ["", "s", "-1s", "1.5h", "1h30m", "30 S.", "\u0663s", "0ms", "9" * 40 + "d", "999999w"]
)
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"duration|longer"):
        parse_duration(text)


@pytest.mark.parametrize("text", ["", "GiB", "-1B", "1.5GiB", "0B", "5gib", "9999999TiB"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"size|range"):
        parse_size(text)


@given(st.integers(1, 10**12))
def test_a_printed_duration_reads_the_same_to_the_millisecond(milliseconds: int) -> None:
    seconds = milliseconds / 1000
    assert parse_duration(format_duration(seconds)) == seconds


@given(st.integers(1, 10**8), st.sampled_from([1, 10**3, 10**9, 1 << 10, 1 << 20, 1 << 30]))
def test_a_printed_size_reads_the_same(number: int, unit: int) -> None:
    assert parse_size(format_size(number * unit)) == number * unit


def test_a_retry_schedule_has_a_first_and_a_longest_wait() -> None:
    assert parse_retry("30s..15m") == Retry(30, 900)
    assert format_retry(Retry(30, 900)) == "30s..15m"
    assert parse_retry("1m..1m") == Retry(60, 60)
