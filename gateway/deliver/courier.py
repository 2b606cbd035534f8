"""One association at a time with a destination: opened for a batch, kept while it is of use.

While one instance is being sent the next ones are already being transcoded, so that all cores
decode; they are sent in the order in which they were due. The association is left when it is
broken, when the lane rests, when the next delivery needs presentation contexts that were not
proposed, or when nothing came for as long as it may linger.
"""

import asyncio
from collections import deque
from contextlib import AsyncExitStack
from datetime import datetime

from gateway import telemetry
from gateway.deliver.outbox import Outbox
from gateway.deliver.outcome import Unexpected, outcome
from gateway.deliver.prepare import prepare
from gateway.deliver.session import BatchSession, ConnectionLost, Item, Session
from gateway.derivation import Derivations, Derived
from gateway.failures import AlreadyThere, Failure, PermanentFailure, TemporaryFailure
from gateway.model import Delivered, Delivery


class Courier:
    """Takes deliveries out of an outbox and brings them over, until it drains."""

    def __init__(self, outbox: Outbox, derivations: Derivations) -> None:
        self._outbox = outbox
        self._derivations = derivations
        self._pace = outbox.pace
        self._line: deque[Delivery] = deque()
        self._making: dict[int, asyncio.Task[Derived | Failure]] = {}
        self._session: Session | None = None
        self._tried = 0
        self._sent = 0
        self._revision = outbox.revision

    async def run(self) -> None:
        """Serve until the outbox drains."""
        while (first := await self._first()) is not None:
            await self._serve(first)

    async def _first(self) -> Delivery | None:
        """The delivery to open an association for.

        A further association is opened only for more than the open ones have in hand.
        """
        outbox = self._outbox
        while not outbox.draining.is_set():
            arrived = outbox.arrived
            alone = not outbox.couriers
            if outbox.peek() is not None and (alone or outbox.waiting >= self._pace.ahead):
                outbox.couriers.add(self)
                return outbox.take()
            await arrived.wait()
        return None

    async def _serve(self, first: Delivery) -> None:
        self._line.append(first)
        self._tried = self._sent = 0
        try:
            ended = await outcome(self._visit(first), "association")
        finally:
            await self._put_away()
        if isinstance(ended, Failure):
            name = self._outbox.destination.name
            telemetry.alarm("association broke off", destination=name, reason=str(ended))
            if not self._tried:
                self._outbox.shut(first, ended)

    async def _visit(self, first: Delivery) -> None:
        """From association request to release."""
        began = self._pace.clock()
        async with AsyncExitStack() as stack:
            opening = self._outbox.destination.sender.connect(self._outbox.wanted(first))
            session = await outcome(stack.enter_async_context(opening), "connect")
            if isinstance(session, Failure):
                await self._unreached(first, session)
                return
            ended = "aborted"
            try:
                await self._converse(session)
                ended = "released" if session.alive else "lost"
            finally:
                self._report(ended, began)
                await self._put_away()

    async def _unreached(self, first: Delivery, failure: Failure) -> None:
        """No association: one delivery has had a try, and the lane rests for the others' sake.

        A destination that serves other associations of ours meanwhile only has no room for one
        more: then nothing is held against it. A refusal is about the destination, never about
        the instance, so even a permanent one is tried again: somebody will mend it.
        """
        outbox = self._outbox
        if outbox.listeners:
            rest = outbox.policy(first).rest(1, self._pace.chance())
            await self._put_away()
            await self._pace.wait(outbox.draining, self._pace.clock() + rest)
            return
        self._tried += 1
        self._line.popleft()
        outbox.shut(first, failure, at_once=True)
        if isinstance(failure, PermanentFailure):
            failure = TemporaryFailure(str(failure))
        await outbox.failed(first, failure)

    async def _converse(self, session: Session) -> None:
        self._session = session
        self._outbox.listeners.append(self._fill)
        while await self._ready(session):
            await self._bring(session)
        if self._line and not (session.alive or self._tried) and self._outbox.open():
            await self._lost_unused()

    async def _lost_unused(self) -> None:
        """The peer ended the association before anything was sent: that was a try."""
        self._tried += 1
        delivery = self._line.popleft()
        failure = ConnectionLost("the peer ended the association before anything was sent")
        self._outbox.shut(delivery, failure)
        await self._outbox.failed(delivery, failure)

    async def _ready(self, session: Session) -> bool:
        """Whether there is something to send over this association; lingers for it."""
        outbox, until = self._outbox, None
        while session.alive and outbox.open():
            self._reconsider()
            self._fill()
            if self._line:
                return True
            if outbox.peek() is not None:
                return False
            now = self._pace.clock()
            until = until or now + self._pace.linger
            if now >= until:
                return False
            await self._pace.wait(outbox.arrived, until)
        return False

    def _reconsider(self) -> None:
        """After a person changed something, what waits in line is taken up anew or not at all."""
        if self._revision == self._outbox.revision:
            return
        self._revision = self._outbox.revision
        for task in self._making.values():
            task.cancel()
        self._making.clear()
        line = list(self._line)
        self._line.clear()
        self._outbox.forget(line)

    def _fill(self) -> None:
        """Take up what fits this association, and have it made ready."""
        while (delivery := self._outbox.peek()) is not None and self._fits(delivery):
            self._line.append(self._outbox.take())
        for delivery in self._line:
            if delivery.delivery_id not in self._making:
                self._making[delivery.delivery_id] = asyncio.create_task(self._make(delivery))

    def _fits(self, delivery: Delivery) -> bool:
        instance, session = delivery.instance, self._session
        if session is None or len(self._line) > self._pace.ahead:
            return False
        ahead = sum(each.instance.size for each in self._line)
        if self._line and ahead + instance.size > self._pace.ahead_bytes:
            return False
        return session.proposed(instance.sop_class_uid, {instance.transfer_syntax})

    async def _make(self, delivery: Delivery) -> Derived | Failure:
        return await outcome(self._prepare(delivery), "prepare")

    async def _prepare(self, delivery: Delivery) -> Derived:
        outbox, session = self._outbox, self._session
        if session is None:
            raise ConnectionLost("the association is gone")
        return await prepare(
            delivery.instance,
            session.accepted(delivery.instance.sop_class_uid),
            outbox.destination,
            outbox.policy(delivery),
            self._derivations,
        )

    async def _bring(self, session: Session) -> None:
        """Send the first in line, unless the time for it has passed."""
        delivery = self._line[0]
        ready = await self._made(delivery)
        if ready is None or not (session.alive and self._outbox.open()):
            return
        if self._revision != self._outbox.revision:
            return
        if isinstance(ready, Failure):
            self._drop_first()
            await self._unprepared(delivery, ready)
            return
        batch = self._together(session, ready)
        self._tried += len(batch)
        for delivery, made in zip(self._line, batch, strict=False):
            self._outbox.grew(delivery, made.file)
        answers = await self._stored(session, batch)
        shut: TemporaryFailure | None = None
        for sent, answer in zip(batch, answers, strict=True):
            await self._conclude(self._drop_first(), sent, answer, shut_before=shut is not None)
            shut = answer if isinstance(answer, TemporaryFailure) else shut
        if isinstance(shut, Unexpected):
            raise shut

    def _together(self, session: Session, first: Derived) -> list[Derived]:
        """What goes now: the first in line, and where the session takes more, what is ready."""
        batch = [first]
        if not isinstance(session, BatchSession):
            return batch
        line = list(self._line)
        items = [_item(line[0], first)]
        for delivery in line[1:]:
            making = self._making[delivery.delivery_id]
            ready = making.result() if making.done() else None
            if not isinstance(ready, Derived):
                break
            item = _item(delivery, ready)
            uids = {other.instance.sop_instance_uid for other in items}
            if item.instance.sop_instance_uid in uids:
                break
            items.append(item)
            if not session.fits(items):
                break
            batch.append(ready)
        return batch

    async def _stored(self, session: Session, batch: list[Derived]) -> list[str | Failure]:
        """An answer for each of the first in line; a failure of the session is that of all."""
        items = [_item(*each) for each in zip(self._line, batch, strict=False)]
        if len(items) > 1 and isinstance(session, BatchSession):
            answers = await outcome(session.store_batch(items), "store")
            return [answers] * len(items) if isinstance(answers, Failure) else answers
        item = items[0]
        return [
            await outcome(session.store(item.instance, item.file, item.transfer_syntax), "store")
        ]

    async def _unprepared(self, delivery: Delivery, failure: Failure) -> None:
        """The instance could not be made ready; a full disk of ours concerns all of them."""
        if not isinstance(failure, PermanentFailure | Unexpected):
            self._outbox.shut(delivery, failure)
        await self._outbox.failed(delivery, failure)

    async def _made(self, delivery: Delivery) -> Derived | Failure | None:
        """What was made ready; None when the outbox drained before it was."""
        making = self._making[delivery.delivery_id]
        if not making.done():
            draining = asyncio.ensure_future(self._outbox.draining.wait())
            try:
                await asyncio.wait({making, draining}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                draining.cancel()
        return making.result() if making.done() else None

    async def _conclude(
        self, delivery: Delivery, ready: Derived, answer: str | Failure, *, shut_before: bool
    ) -> None:
        outbox = self._outbox
        if isinstance(answer, ConnectionLost):
            outbox.unanswered.add(delivery.delivery_id)
        elif isinstance(answer, AlreadyThere) and delivery.delivery_id in outbox.unanswered:
            answer = f"{answer}: the earlier try, whose answer was lost, has brought it"
        if isinstance(answer, str):
            self._sent += 1
            verdict = Delivered(ready.transfer_syntax, ready.decoder, answer)
            await outbox.delivered(delivery, verdict)
            return
        if isinstance(answer, PermanentFailure):
            outbox.answered()
        elif not shut_before:
            outbox.shut(delivery, answer)
        await outbox.failed(delivery, answer)

    def _drop_first(self) -> Delivery:
        delivery = self._line.popleft()
        del self._making[delivery.delivery_id]
        return delivery

    async def _put_away(self) -> None:
        """Leave the lane as if what was not tried had never been taken up."""
        outbox, self._session = self._outbox, None
        if self._fill in outbox.listeners:
            outbox.listeners.remove(self._fill)
        outbox.couriers.discard(self)
        making, line = list(self._making.values()), list(self._line)
        self._making.clear()
        self._line.clear()
        for task in making:
            task.cancel()
        outbox.give_back(line)
        await asyncio.gather(*making, return_exceptions=True)

    def _report(self, ended: str, began: datetime) -> None:
        telemetry.delivery_association_ended(
            self._outbox.destination.name,
            sent=self._sent,
            failed=self._tried - self._sent,
            seconds=(self._pace.clock() - began).total_seconds(),
            outcome=ended,
        )


def _item(delivery: Delivery, ready: Derived) -> Item:
    return Item(ready.instance(delivery.instance), ready.file, ready.transfer_syntax)
