"""A single instance by its UIDs: as the ledger has it, mostly without asking the ledger."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from gateway.model import Instance
from gateway.spool import Spool, latest
from gateway.spool.files import Part
from tests.spool.arrivals import Clock, arriving, keep

IN = ("1.2.3", "1.2.3.4")


@pytest.fixture
def asked(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The SOP Instance UIDs that the ledger was asked for."""
    found: list[str] = []
    ask = spool._view.ask

    async def noted(question: Any, *facts: Any) -> Any:
        if question is latest._latest:
            found.append(facts[0])
        return await ask(question, *facts)

    monkeypatch.setattr(spool._view, "ask", noted)
    return found


def begun(spool: Spool, content: bytes = b"pixels") -> Part:
    part = spool.create()
    part.write(content)
    return part


async def test_what_has_just_come_is_found_without_the_ledger_and_as_the_ledger_has_it(
    spool: Spool, asked: list[str]
) -> None:
    kept = await keep(spool, "1.2.1")
    assert await spool.instance(*IN, "1.2.1") == await spool.instance("1.2.3", "", "1.2.1") == kept
    assert asked == []
    assert [kept] == await spool.instances([kept.spool_id])


async def test_it_is_no_instance_of_another_study_or_series(spool: Spool) -> None:
    await keep(spool, "1.2.1")
    assert await spool.instance("1.2.4", "1.2.3.4", "1.2.1") is None
    assert await spool.instance("1.2.3", "1.2.3.5", "1.2.1") is None
    assert await spool.instance(*IN, "1.2.2") is None


async def test_what_came_before_the_start_is_asked_for_once(folder: Any, clock: Clock) -> None:
    before = Spool.open(folder, clock=clock, refuse_below_free=0)
    kept = await keep(before, "1.2.1")
    await before.aclose()
    spool = Spool.open(folder, clock=clock, refuse_below_free=0)
    try:
        first = await spool.instance(*IN, "1.2.1")
        assert first == kept
        assert await spool.instance(*IN, "1.2.1") is first
    finally:
        await spool.aclose()


async def test_the_last_reception_counts_in_whatever_order_they_become_durable(
    spool: Spool, asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(latest, "REMEMBERED", 1)
    early, late = begun(spool), begun(spool, b"more pixels")
    second = await spool.commit(late, arriving("1.2.1"), [])
    first = await spool.commit(early, arriving("1.2.1"), [])
    assert first.spool_id < second.spool_id
    assert await spool.instance(*IN, "1.2.1") == second
    early, late = begun(spool), begun(spool, b"more pixels")
    second = await spool.commit(late, arriving("1.2.1"), [])
    await keep(spool, "1.2.2")
    await spool.commit(early, arriving("1.2.1"), [])
    assert await spool.instance(*IN, "1.2.1") == second
    assert asked == ["1.2.1"]


async def test_what_was_not_removed_since_it_is_owed_stays_the_last_one(spool: Spool) -> None:
    early = begun(spool)
    second = await keep(spool, "1.2.1", "node", content=b"more pixels")
    assert await spool.remove([second.spool_id]) == 0
    await spool.commit(early, arriving("1.2.1"), [])
    assert await spool.instance(*IN, "1.2.1") == second


async def test_a_reception_that_no_url_can_name_hides_none(spool: Spool, asked: list[str]) -> None:
    kept = await keep(spool, "1.2.1")
    nameless = replace(arriving("1.2.1"), study_uid="")
    await spool.commit(begun(spool), nameless, [])
    assert await spool.instance(*IN, "1.2.1") == kept
    spool._latest._known.clear()
    assert await spool.instance(*IN, "1.2.1") == kept
    assert asked == ["1.2.1"]


async def test_it_moves_to_another_study_with_its_last_reception(spool: Spool) -> None:
    kept = await keep(spool, "1.2.1")
    moved = await spool.commit(begun(spool), replace(arriving("1.2.1"), study_uid="1.9"), [])
    assert await spool.instance("1.9", "1.2.3.4", "1.2.1") == moved
    assert await spool.instance(*IN, "1.2.1") is None
    await spool.remove([moved.spool_id])
    assert await spool.instance(*IN, "1.2.1") == kept


async def test_what_is_removed_is_found_no_more(spool: Spool, clock: Clock) -> None:
    kept = [await keep(spool, f"1.2.{n}") for n in range(3)]
    await spool.remove([kept[0].spool_id])
    assert await spool.instance(*IN, "1.2.0") is None
    assert await spool.instance(*IN, "1.2.1") == kept[1]
    await spool.tidy(clock.advance(days=8))
    assert await spool.instance(*IN, "1.2.1") is None


async def test_what_was_kept_for_nobody_who_still_waits_is_the_last_one(spool: Spool) -> None:
    await keep(spool, "1.2.1")
    part = begun(spool, b"other pixels")
    waiting = asyncio.ensure_future(spool.commit(part, arriving("1.2.1"), []))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait([waiting])
    await keep(spool, "1.2.2")
    found = await spool.instance(*IN, "1.2.1")
    assert found is not None
    assert found.spool_id == part.spool_id


async def test_an_answer_of_the_ledger_that_was_overtaken_is_not_remembered(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = await keep(spool, "1.2.1")
    spool._latest._known.clear()
    ask = spool._view.ask

    async def slow(question: Any, *facts: Any) -> Instance | None:
        answer = await ask(question, *facts)
        monkeypatch.undo()
        await spool.remove([kept.spool_id])
        found: Instance | None = answer
        return found

    monkeypatch.setattr(spool._view, "ask", slow)
    assert await spool.instance(*IN, "1.2.1") == kept
    assert await spool.instance(*IN, "1.2.1") is None


async def test_only_so_many_are_remembered(
    spool: Spool, asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(latest, "REMEMBERED", 10)
    kept = [await keep(spool, f"1.2.{n}") for n in range(30)]
    assert len(spool._latest._known) == 10
    assert [await spool.instance(*IN, f"1.2.{n}") for n in range(30)] == kept
    assert len(spool._latest._known) == 10
