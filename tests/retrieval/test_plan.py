"""What is asked of an origin server when some of what it lists is missing."""

from gateway.retrieval.plan import Level, Scope, asks

LISTED = {"1": "a", "2": "a", "3": "a", "4": "b", "5": "b", "6": "b"}
STUDY = Scope("s")


def test_a_study_of_which_nothing_is_here_is_asked_for_whole():
    assert asks(STUDY, LISTED, LISTED, Level.STUDY) == [STUDY]


def test_nothing_is_asked_for_when_nothing_is_missing():
    assert asks(STUDY, LISTED, [], Level.STUDY) == []


def test_a_few_missing_instances_are_asked_for_one_by_one():
    assert asks(STUDY, LISTED, ["5"], Level.STUDY) == [Scope("s", "b", "5")]


def test_a_series_that_is_mostly_missing_is_asked_for_whole():
    listed = {**LISTED, "7": "c", "8": "c", "9": "c"}
    assert asks(STUDY, listed, ["1", "4", "5"], Level.STUDY) == [
        Scope("s", "a", "1"),
        Scope("s", "b"),
    ]


def test_pieces_become_smaller_after_a_failure():
    assert asks(STUDY, LISTED, LISTED, Level.SERIES) == [Scope("s", "a"), Scope("s", "b")]
    assert asks(STUDY, LISTED, ["1", "4"], Level.INSTANCE) == [
        Scope("s", "a", "1"),
        Scope("s", "b", "4"),
    ]


def test_a_series_is_never_widened_to_its_study():
    scope = Scope("s", "a")
    listed = {"1": "a", "2": "a"}
    assert asks(scope, listed, listed, Level.STUDY) == [scope]
    assert asks(scope, listed, listed, Level.INSTANCE) == [
        Scope("s", "a", "1"),
        Scope("s", "a", "2"),
    ]


def test_an_instance_of_no_known_series_comes_with_its_study():
    assert asks(STUDY, {"1": "", "2": ""}, ["1"], Level.INSTANCE) == [STUDY]
