from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.deliver.backoff import rest

FIRST, LONGEST = timedelta(seconds=30), timedelta(minutes=15)
NO_SPREAD = 0.5


@pytest.mark.parametrize(
    ("tries", "seconds"),
    [(0, 30), (1, 30), (2, 51), (3, 86.7), (4, 147.39), (7, 724.127), (8, 750), (10**9, 750)],
)
def test_the_wait_grows_by_1_7_until_the_longest(tries: int, seconds: float) -> None:
    assert rest(FIRST, LONGEST, tries, NO_SPREAD).total_seconds() == pytest.approx(
        seconds, abs=0.01
    )


@pytest.mark.parametrize(("chance", "seconds"), [(0.0, 24), (0.5, 30), (0.999999, 36)])
def test_chance_spreads_the_wait_by_a_fifth_to_either_side(chance: float, seconds: float) -> None:
    assert rest(FIRST, LONGEST, 1, chance).total_seconds() == pytest.approx(seconds, abs=0.01)


@given(
    st.timedeltas(timedelta(0), timedelta(days=9)),
    st.timedeltas(timedelta(0), timedelta(days=9)),
    st.integers(0, 10**12),
    st.floats(0, 1, exclude_max=True),
)
def test_the_wait_is_never_negative_and_never_longer_than_the_longest(
    first: timedelta, longest: timedelta, tries: int, chance: float
) -> None:
    assert timedelta(0) <= rest(first, longest, tries, chance) <= longest


@given(st.integers(1, 60), st.floats(0, 1, exclude_max=True))
def test_with_the_same_chance_a_later_wait_is_not_shorter(tries: int, chance: float) -> None:
    assert rest(FIRST, LONGEST, tries, chance) <= rest(FIRST, LONGEST, tries + 1, chance)
