"""Logs: one line an event, for people or for machines, that no peer can forge."""

import io
import json
import logging

import pytest

from gateway import telemetry
from gateway.model import Arrival, Origin
from gateway.operate import logs


@pytest.fixture
def stream():
    return io.StringIO()


def _refuse(called: str = "GATEWAY") -> None:
    telemetry.association_refused(Origin(Arrival.C_STORE, "CT1", called, "10.0.0.7"), "no such AE")


def test_what_is_no_terminal_gets_one_json_object_a_line(stream):
    logs.set_up(stream=stream)
    _refuse()
    _refuse()
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line["event"] for line in lines] == ["association refused"] * 2
    assert lines[0]["calling"] == "CT1"
    assert lines[0]["level"] == "warning"
    assert lines[0]["timestamp"].endswith("Z")


def test_a_person_gets_plain_lines(stream):
    logs.set_up(stream=stream, json=False)
    _refuse()
    assert "association refused" in stream.getvalue()
    assert "reason='no such AE'" in stream.getvalue()


@pytest.mark.parametrize("as_json", [True, False])
def test_a_peer_cannot_forge_a_line(stream, as_json):
    logs.set_up(stream=stream, json=as_json)
    _refuse("X\n20:00:00 [info] instance received\x1b[2J")
    assert len(stream.getvalue().splitlines()) == 1
    assert "\x1b[2J" not in stream.getvalue()


def test_a_value_without_end_is_cut(stream):
    logs.set_up(stream=stream)
    _refuse("A" * 10_000)
    assert len(json.loads(stream.getvalue())["called"]) == 256


@pytest.mark.parametrize("as_json", [True, False])
def test_a_traceback_shows_no_local_variables(stream, as_json):
    logs.set_up(stream=stream, json=as_json)

    def fail(patient: str) -> None:
        raise RuntimeError("broken")

    try:
        fail("Doe^" + "Jane")
    except RuntimeError as error:
        telemetry.bug("something broke", error)
    assert "RuntimeError: broken" in stream.getvalue()
    assert "Doe^Jane" not in stream.getvalue()


def test_lines_below_the_level_are_not_written(stream):
    logs.set_up(stream=stream, level="error")
    _refuse()
    assert stream.getvalue() == ""


def test_a_level_that_does_not_exist_is_refused_with_what_is_allowed(stream):
    with pytest.raises(ValueError, match="debug, info, warning, error"):
        logs.set_up(stream=stream, level="loud")


def test_a_traceback_cannot_forge_a_line_either(stream):
    logs.set_up(stream=stream, json=False)
    telemetry.bug("broke", RuntimeError("broken by \x1b[2J\r20:00:00 [info] instance received"))
    assert "\x1b[2J" not in stream.getvalue()
    assert "\r" not in stream.getvalue()


def test_lines_of_libraries_look_like_ours(stream):
    logs.set_up(stream=stream)
    logging.getLogger("asyncio").warning("a task was forgotten")
    line = json.loads(stream.getvalue())
    assert (line["event"], line["library"], line["level"]) == (
        "a task was forgotten",
        "asyncio",
        "warning",
    )
