"""``dicom-gateway queue`` as a person calls it."""

import asyncio
import json
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gateway.cli import app
from gateway.failures import PermanentFailure
from gateway.model import Arrival, Origin, Owed, Rejected
from gateway.service import utc_now
from gateway.spool import Queue, Spool
from gateway.spool.history import History
from tests.spool.arrivals import arriving, keep


@pytest.fixture
def folder(tmp_path: Path):
    """Three instances for two nodes; the viewer has refused the first two."""

    async def fill() -> None:
        spool = Spool.open(tmp_path / "spool", clock=utc_now, refuse_below_free=0)
        for number in range(3):
            await keep(spool, f"1.2.{number}", "pacs", "viewer")
        for delivery in await spool.due("viewer", limit=2, now=utc_now()):
            await spool.settle(delivery, Rejected(PermanentFailure("status 0xC000")))
        await spool.aclose()

    asyncio.run(fill())
    return tmp_path / "spool"


def said(*arguments: object):
    """What ``queue`` does with these arguments."""
    return CliRunner().invoke(app, ["queue", *map(str, arguments)])


def states(folder: Path, destination: str) -> list[str]:
    with Queue(folder, clock=utc_now) as queue:
        return [row.state for row in queue.list(destination=destination)]


def test_a_whole_destination_is_retried_and_counted(folder):
    result = said("retry", "--destination", "viewer", "--spool", folder)
    assert (result.exit_code, result.output) == (0, "3 deliveries to be tried again\n")
    assert states(folder, "viewer") == ["owed"] * 3


def test_only_what_is_held_is_retried_where_that_is_asked_for(folder):
    result = said("retry", "--destination", "viewer", "--state", "held", "--spool", folder)
    assert (result.exit_code, result.output) == (0, "2 deliveries to be tried again\n")


def test_a_whole_destination_is_held(folder):
    result = said("hold", "--destination", "pacs", "--spool", folder)
    assert (result.exit_code, result.output) == (0, "3 deliveries held\n")
    assert states(folder, "pacs") == ["held"] * 3


def test_only_what_is_held_is_dropped_where_that_is_asked_for(folder):
    result = said("drop", "--destination", "viewer", "--state", "held", "--spool", folder)
    assert (result.exit_code, result.output) == (0, "2 deliveries dropped\n")
    assert states(folder, "viewer") == ["dropped", "dropped", "owed"]


def test_a_destination_narrows_an_instance(folder):
    result = said("drop", "1.2.0", "--destination", "pacs", "--spool", folder)
    assert (result.exit_code, result.output) == (0, "1 delivery dropped\n")
    assert states(folder, "viewer") == ["held", "held", "owed"]


@pytest.mark.parametrize("verb", ["retry", "hold", "drop"])
def test_who_names_nothing_is_told_what_may_be_named(folder, verb):
    result = said(verb, "--spool", folder)
    text = " ".join(result.output.replace("│", " ").split())
    assert result.exit_code == 2
    assert "name a delivery's number, a SOP Instance UID, or --destination NODE" in text
    assert "dropped" not in states(folder, "pacs")


def test_a_state_that_is_final_cannot_be_changed(folder):
    result = said("retry", "--destination", "pacs", "--state", "dropped", "--spool", folder)
    assert result.exit_code == 2
    assert "only what is owed or held" in result.output


def test_nothing_found_is_an_exit_status(folder):
    result = said("retry", "--destination", "nowhere", "--spool", folder)
    assert (result.exit_code, result.output) == (1, "0 deliveries to be tried again\n")


def test_what_is_owed_and_held_is_listed(folder):
    result = said("list", "--json", "--destination", "viewer", "--spool", folder)
    assert [row["state"] for row in json.loads(result.output)] == ["held", "held", "owed"]


LONG = "1.2.826.0.1.3680043.8.498.12345678901234567890123456789012345678"


def test_an_instance_under_a_wrong_label_is_shown_as_one(tmp_path):
    async def fill() -> None:
        spool = Spool.open(tmp_path, clock=utc_now, refuse_below_free=0)
        with spool.create() as part:
            part.write(b"pixels")
            wrong = replace(arriving("1.2.9"), mislabelled=True)
            await spool.commit(part, wrong, [Owed("pacs", "all")])
        await keep(spool, "1.2.8", "pacs")
        await spool.aclose()

    asyncio.run(fill())
    for uid, said_so in (("1.2.9", "True"), ("1.2.8", "False")):
        lines = said("show", uid, "--spool", tmp_path).output.splitlines()
        assert f"         mislabelled  {said_so}" in lines


@pytest.fixture
def left_over(tmp_path: Path):
    """One instance is owed, one nobody took, one was only looked at upstream."""

    async def fill() -> None:
        spool = Spool.open(tmp_path / "spool", clock=utc_now, refuse_below_free=0)
        await keep(spool, "1.2.0", "pacs")
        await keep(spool, LONG)
        with spool.create() as part:
            part.write(b"pixels")
            seen = replace(arriving("1.2.2"), origin=Origin(Arrival.UPSTREAM, address="cloud"))
            await spool.commit(part, seen, [])
        await spool.aclose()

    asyncio.run(fill())
    return tmp_path / "spool"


def test_what_no_route_has_taken_is_listed_with_who_sent_it(left_over):
    lines = said("list", "--unrouted", "--spool", left_over).output.splitlines()
    assert [line.split()[:3] for line in lines] == [
        ["instance", "from", "received"],
        [LONG, "CT1", "10.0.0.7"],
    ]
    facts = json.loads(said("list", "--unrouted", "--json", "--spool", left_over).output)
    assert [(each["sop_instance_uid"], each["calling"]) for each in facts] == [(LONG, "CT1")]
    with History(left_over) as history:
        assert history.unrouted() == 1


def test_a_uid_is_never_broken(left_over, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")  # as on a terminal
    for columns in (40, 105, 200):
        monkeypatch.setenv("COLUMNS", str(columns))
        assert LONG in said("list", "--unrouted", "--spool", left_over).output


def test_a_row_is_one_line_where_a_program_reads_it(folder, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    lines = said("list", "--spool", folder).output.splitlines()
    assert len(lines) == 1 + 6
    assert lines[0].split() == [
        *["no.", "instance", "to", "state", "tries", "received", "next", "try", "why"]
    ]


def test_without_a_spool_here_one_is_told_how_to_name_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = said("list")
    assert result.exit_code == 1
    assert f"no spool in {tmp_path}/gateway-data" in result.output
    assert "--config FILE" in result.output
    assert "--spool FOLDER" in result.output
    assert list(tmp_path.iterdir()) == []
