"""The queue seen and changed from beside a running gateway."""

import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from gateway.failures import PermanentFailure, TemporaryFailure
from gateway.model import Deferred, Rejected
from gateway.spool import Queue, Spool
from tests.spool.arrivals import START, Clock, keep, states


@pytest.fixture
def queue(spool: Spool, folder: Path, clock: Clock):
    with Queue(folder, clock=clock) as opened:
        yield opened


async def reject_all(spool: Spool, destination: str, clock: Clock) -> None:
    for delivery in await spool.due(destination, limit=100, now=clock()):
        await spool.settle(delivery, Rejected(PermanentFailure("no accepted context")))


async def test_listing_by_state_destination_and_limit(
    spool: Spool, queue: Queue, clock: Clock
) -> None:
    for number in range(3):
        await keep(spool, f"1.2.{number}", "pacs", "viewer")
    await reject_all(spool, "viewer", clock)
    assert len(queue.list()) == 6
    assert states(queue.list("held")) == ["held"] * 3
    assert {row.destination for row in queue.list(destination="pacs")} == {"pacs"}
    assert [row.delivery_id for row in queue.list(limit=2)] == [1, 2]
    assert queue.list("held", "pacs") == []


def test_an_unknown_state_is_named_with_those_there_are(queue: Queue) -> None:
    with pytest.raises(PermanentFailure, match=r"'lost'; there are owed, held"):
        queue.list("lost")


async def test_showing_one_delivery_or_all_of_an_instance(spool: Spool, queue: Queue) -> None:
    await keep(spool, "1.2.1", "pacs", "viewer")
    await keep(spool, "1.2.2", "pacs")
    await keep(spool, "1.2.1", "pacs")
    assert [row.delivery_id for row in queue.show("1.2.1")] == [1, 2, 4]
    assert queue.show(3) == queue.show("3") == queue.show("1.2.2")
    assert queue.show("1.2.9") == []
    assert queue.show(99) == []


async def test_a_retry_is_noticed_when_the_gateway_next_asks(
    spool: Spool, queue: Queue, clock: Clock
) -> None:
    await keep(spool, "1.2.1", "pacs")
    await reject_all(spool, "pacs", clock)
    clock.advance(hours=1)
    assert queue.retry("1.2.1") == 1
    (delivery,) = await spool.due("pacs", limit=10, now=clock())
    assert (delivery.attempts, delivery.due_at) == (0, clock())


async def test_a_retry_brings_forward_what_was_put_off(
    spool: Spool, queue: Queue, clock: Clock
) -> None:
    await keep(spool, "1.2.1", "pacs")
    (delivery,) = await spool.due("pacs", limit=10, now=clock())
    later = START + timedelta(hours=1)
    await spool.settle(delivery, Deferred(TemporaryFailure("no route to host"), later))
    assert queue.retry(delivery.delivery_id) == 1
    assert await spool.next_due_at("pacs") == clock()


async def test_a_retry_of_a_whole_destination_leaves_the_others(
    spool: Spool, queue: Queue, clock: Clock
) -> None:
    for number in range(3):
        await keep(spool, f"1.2.{number}", "pacs", "viewer")
    await reject_all(spool, "pacs", clock)
    await reject_all(spool, "viewer", clock)
    assert queue.retry(destination="viewer") == 3
    assert queue.retry("1.2.1", destination="pacs") == 1
    assert states(queue.list(destination="viewer")) == ["owed"] * 3
    assert states(queue.list(destination="pacs")) == ["held", "owed", "held"]


async def test_a_retry_of_what_is_held_leaves_what_is_put_off(
    spool: Spool, queue: Queue, clock: Clock
) -> None:
    for number in range(3):
        await keep(spool, f"1.2.{number}", "pacs")
    later = START + timedelta(hours=1)
    held, deferred, _ = await spool.due("pacs", limit=9, now=clock())
    await spool.settle(held, Rejected(PermanentFailure("status 0xC000")))
    await spool.settle(deferred, Deferred(TemporaryFailure("no route to host"), later))
    assert queue.retry(destination="pacs", state="held") == 1
    assert [row.attempts for row in queue.list()] == [0, 1, 0]
    assert queue.drop(destination="pacs", state="held") == 0
    with pytest.raises(PermanentFailure, match="delivered cannot be changed"):
        queue.retry(destination="pacs", state="delivered")


async def test_what_is_held_is_not_due(spool: Spool, queue: Queue, clock: Clock) -> None:
    await keep(spool, "1.2.1", "pacs")
    assert queue.hold("1.2.1") == 1
    assert await spool.due("pacs", limit=10, now=clock()) == []
    assert queue.show("1.2.1")[0].reason == "by hand"


async def test_what_is_dropped_or_delivered_is_final(
    spool: Spool, queue: Queue, clock: Clock
) -> None:
    await keep(spool, "1.2.1", "pacs")
    assert queue.drop("1.2.1") == 1
    assert (queue.retry(1), queue.hold(1), queue.drop(1)) == (0, 0, 0)
    assert states(queue.list()) == ["dropped"]


@pytest.mark.parametrize("change", ["retry", "hold", "drop"])
def test_nothing_is_changed_wholesale_by_naming_nothing(queue: Queue, change: str) -> None:
    with pytest.raises(PermanentFailure, match="name a delivery"):
        getattr(queue, change)()


def test_a_folder_without_a_spool_is_not_made_into_one(tmp_path: Path, clock: Clock) -> None:
    with pytest.raises(PermanentFailure, match="there is no spool at"):
        Queue(tmp_path, clock=clock)
    assert list(tmp_path.iterdir()) == []


async def test_another_process_reads_and_changes_while_the_gateway_runs(
    spool: Spool, folder: Path, clock: Clock
) -> None:
    await keep(spool, "1.2.1", "pacs")
    program = (
        "import sys\n"
        "from datetime import UTC, datetime\n"
        "from pathlib import Path\n"
        "from gateway.spool import Queue\n"
        "with Queue(Path(sys.argv[1]), clock=lambda: datetime.now(UTC)) as queue:\n"
        "    print(queue.list()[0].sop_instance_uid, queue.drop('1.2.1'))\n"
    )
    command = [sys.executable, "-c", program, str(folder)]
    done = subprocess.run(  # noqa: ASYNC221 - the other process works while this one waits
        command, capture_output=True, text=True, check=True
    )
    assert done.stdout == "1.2.1 1\n"
    assert await spool.due("pacs", limit=10, now=clock()) == []
    assert (await keep(spool, "1.2.2", "pacs")).file.is_file()


async def test_the_queue_can_be_read_when_no_gateway_runs(
    spool: Spool, folder: Path, clock: Clock
) -> None:
    await keep(spool, "1.2.1", "pacs")
    await spool.aclose()
    with Queue(folder, clock=clock) as queue:
        assert states(queue.list()) == ["owed"]
        assert queue.counts().destinations["pacs"].owed == 1
        assert queue.contradictions() == []
