"""Other rules for what came before: what is owed changes, and what is final does not."""

from pathlib import Path

import pytest

from gateway.failures import PermanentFailure
from gateway.model import Delivered, Owed, Rejected, Terms
from gateway.spool import Queue, Spool
from gateway.spool.rerouting import REROUTED, Row, compare
from tests.spool.arrivals import Clock, beside, by_hand, contradictions, keep, owed_to, rows

OWED = Row(1, "pacs", "to-pacs", 0, "owed", "")


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
async def spool(tmp_path: Path, clock: Clock):
    opened = Spool.open(tmp_path / "spool", clock=clock, refuse_below_free=0)
    yield opened
    await opened.aclose()


def states(spool: Spool) -> dict[str, str]:
    return {row.destination: row.state for row in rows(spool)}


def test_the_same_rules_change_nothing() -> None:
    assert not compare([OWED], owed_to("pacs"))


@pytest.mark.parametrize(
    ("state", "reason", "again"),
    [
        ("owed", "", False),
        ("held", "0xA700", False),
        ("delivered", "", False),
        ("dropped", "by hand", False),
        ("dropped", REROUTED, True),
    ],
)
def test_only_what_rules_have_dropped_is_owed_again(state: str, reason: str, again: bool) -> None:
    found = compare([OWED._replace(state=state, reason=reason)], owed_to("pacs"))
    assert [each.destination for each in found.new] == ["pacs"] * again


@pytest.mark.parametrize(
    ("state", "dropped"), [("owed", 1), ("held", 1), ("delivered", 0), ("dropped", 0)]
)
def test_what_is_owed_or_held_and_no_longer_routed_is_dropped(state: str, dropped: int) -> None:
    assert len(compare([OWED._replace(state=state)], ()).dropped) == dropped


def test_another_route_or_priority_is_noted() -> None:
    for owed in (Owed("pacs", "other"), Owed("pacs", "to-pacs", Terms(1))):
        assert compare([OWED], [owed]).renamed == ((OWED, owed),)


async def test_a_running_gateway_and_a_person_give_no_number_twice(
    spool: Spool, clock: Clock
) -> None:
    first = await keep(spool, "1.1", "pacs")
    with beside(spool) as queue:
        queue.reroute({first.spool_id: owed_to("archive", "viewer")})
    await keep(spool, "1.2", "pacs", "archive")
    with beside(spool) as queue:
        queue.reroute({first.spool_id: owed_to("pacs", "archive")})
    await keep(spool, "1.3", "pacs")
    assert [row.delivery_id for row in rows(spool)] == list(range(1, 8))
    assert contradictions(spool) == []
    due = await spool.due("archive", limit=9, now=clock())
    assert [each.instance.sop_instance_uid for each in due] == ["1.1", "1.2"]


async def test_numbers_are_not_used_again_after_retention(spool: Spool, clock: Clock) -> None:
    first = await keep(spool, "1.1", "pacs")
    second = await keep(spool, "1.2")
    with beside(spool) as queue:
        queue.reroute({first.spool_id: [], second.spool_id: owed_to("pacs")})
    by_hand(spool, "drop", "1.2")
    clock.advance(days=30)
    assert (await spool.tidy(clock())).instances == 2
    await keep(spool, "1.3", "pacs", received_at=clock())
    assert [row.delivery_id for row in rows(spool)] == [3]
    assert contradictions(spool) == []


async def test_what_was_delivered_or_dropped_by_hand_stays_so(spool: Spool, clock: Clock) -> None:
    instance = await keep(spool, "1.1", "pacs", "viewer", "archive")
    (sent,) = await spool.due("pacs", limit=9, now=clock())
    await spool.settle(sent, Delivered("1.2.840.10008.1.2.1"))
    (refused,) = await spool.due("viewer", limit=9, now=clock())
    await spool.settle(refused, Rejected(PermanentFailure("0xC000")))
    with beside(spool) as queue:
        queue.drop(destination="archive")
        found = queue.reroute({instance.spool_id: owed_to("pacs", "archive")})
    (change,) = found.values()
    assert [row.destination for row in change.dropped] == ["viewer"]
    assert states(spool) == {"pacs": "delivered", "viewer": "dropped", "archive": "dropped"}
    reasons = {row.destination: row.reason for row in rows(spool)}
    assert (reasons["viewer"], reasons["archive"]) == (REROUTED, "by hand")


async def test_a_dry_run_says_the_same_and_changes_nothing(spool: Spool) -> None:
    instance = await keep(spool, "1.1", "pacs")
    plan = {instance.spool_id: owed_to("archive")}
    before, changes = rows(spool), await spool.changes_by_hand()
    with beside(spool) as queue:
        promised = queue.reroute(plan, dry_run=True)
        assert rows(spool) == before
        assert await spool.changes_by_hand() == changes
        assert queue.reroute(plan) == promised
    assert await spool.changes_by_hand() == changes + 1


async def test_an_instance_that_is_gone_owes_nothing(spool: Spool, tmp_path: Path) -> None:
    with Queue(tmp_path / "spool", clock=Clock()) as queue:
        assert not queue.reroute({77: owed_to("pacs")})[77]
    assert contradictions(spool) == []
