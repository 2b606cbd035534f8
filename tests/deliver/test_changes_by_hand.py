"""What a person drops, holds or retries counts at once, also for what is already in memory."""

from tests.deliver.fakes import quiet
from tests.deliver.street import Street
from tests.deliver.unreliable_sender import Answer, UnreliableSender


async def test_what_a_person_drops_is_not_sent_although_it_was_fetched(street: Street) -> None:
    for _ in range(20):
        street.spool.keep("pacs")
    pacs = UnreliableSender()
    pacs.gate.clear()
    async with street.running(pacs=pacs) as scheduler:
        for row in street.spool.rows.values():
            if row.delivery.delivery_id > 1:
                row.state = "dropped"
        scheduler.changed_by_hand()
        pacs.gate.set()
        await quiet()
        await street.time.advance(5)
        assert pacs.uids() == ["1.2.1"]


async def test_what_a_person_retries_is_tried_at_once(street: Street) -> None:
    uid = street.spool.keep("pacs")
    row = street.spool.row(uid)
    row.state = "held"
    pacs = UnreliableSender()
    async with street.running(pacs=pacs) as scheduler:
        await street.time.advance(60)
        assert pacs.stored == []
        row.state = "owed"
        scheduler.changed_by_hand()
        await quiet()
        assert len(pacs.stored) == 1


async def test_a_duplicate_after_a_lost_answer_is_the_earlier_trys_success(street: Street) -> None:
    street.spool.keep("pacs")
    pacs = UnreliableSender(Answer.DROP, Answer.DUPLICATE)
    async with street.running(pacs=pacs):
        await street.time.advance(60)
    assert street.spool.states() == "d"
    (row,) = street.spool.rows.values()
    assert "0x0111" in row.verdicts[-1].warning


async def test_a_duplicate_that_nobody_can_explain_is_held_for_a_person(street: Street) -> None:
    street.spool.keep("pacs")
    pacs = UnreliableSender(Answer.DUPLICATE)
    async with street.running(pacs=pacs):
        await quiet()
    assert street.spool.states() == "h"
