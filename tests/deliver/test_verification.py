"""What a route wants verified, what the ledger is told of it, and instances that kill."""

import asyncio

import pytest

from gateway.deliver.policy import Destination, RoutePolicy
from gateway.derivation import Derivations
from gateway.failures import PermanentFailure
from gateway.model import Checks, Passport, Rendition
from gateway.transcode.reader import Reader
from gateway.transcode.verify import Disagreement
from gateway.transfer_syntax import IMPLICIT_LE, J2K
from tests.deliver.fakes import quiet
from tests.deliver.street import Street
from tests.deliver.unreliable_sender import UnreliableSender


def viewer(sender: UnreliableSender | None = None, name: str = "viewer") -> Destination:
    """A destination that wants decompressed objects."""
    return Destination(Reader(name, frozenset({IMPLICIT_LE})), sender or UnreliableSender())


@pytest.mark.parametrize(
    ("verify", "asked"), [("off", ""), ("lossless", "lossless"), ("100%", "all")]
)
async def test_the_route_says_what_is_verified(street: Street, verify: str, asked: str) -> None:
    street.policies["route"] = RoutePolicy(verify=verify)
    street.spool.keep("viewer", syntax=J2K)
    async with street.running(viewer()):
        assert street.spool.states("viewer") == "d"
    assert street.transcoder.checks == [Checks(verify=asked, digests=True)]


def test_a_share_is_drawn_by_the_uid_and_always_the_same() -> None:
    uids = [f"1.2.826.{number}" for number in range(4000)]
    policy = RoutePolicy(verify="25%")
    drawn = [uid for uid in uids if policy.verified(uid)]
    assert 900 < len(drawn) < 1100
    assert drawn == [uid for uid in uids if policy.verified(uid) == "all"]
    more = {uid for uid in uids if RoutePolicy(verify="50%").verified(uid)}
    assert set(drawn) < more
    assert all(RoutePolicy(verify="100%").verified(uid) for uid in uids)


async def test_how_an_instance_was_made_goes_to_the_ledger(street: Street) -> None:
    street.policies["route"] = RoutePolicy(verify="lossless")
    street.spool.keep("viewer", syntax=J2K)
    async with street.running(viewer()):
        pass
    assert list(street.spool.passports) == [(1, f"{IMPLICIT_LE}+verify-lossless")]
    assert all(isinstance(each, Passport) for each in street.spool.passports.values())


async def test_what_was_made_unverified_does_not_pass_for_verified(street: Street) -> None:
    street.policies["checked"] = RoutePolicy(verify="lossless")
    street.spool.keep("first", syntax=J2K)
    async with street.running(viewer(name="first"), viewer(name="second")) as scheduler:
        (row,) = street.spool.rows.values()
        again = street.spool.keep("second", syntax=J2K, route="checked")
        other = street.spool.row(again, "second")
        object.__setattr__(other.delivery, "instance", row.delivery.instance)
        scheduler.wake("second")
        await quiet()
    assert [checks.verify for checks in street.transcoder.checks] == ["", "lossless"]


@pytest.mark.parametrize("if_undecodable", ["quarantine", "forward-as-stored", "reject"])
async def test_disagreement_holds_whatever_the_route_says_of_undecodable_instances(
    street: Street, if_undecodable: str
) -> None:
    street.policies["route"] = RoutePolicy(
        change="always", if_undecodable=if_undecodable, verify="lossless"
    )
    street.transcoder.failures["1"] = Disagreement("a and b disagree: 4 samples")
    uid = street.spool.keep("pacs", syntax=J2K)
    pacs = UnreliableSender(accepts=[J2K, IMPLICIT_LE])
    async with street.running(pacs=pacs):
        assert street.spool.states() == "h"
        assert street.spool.row(uid).reason == "a and b disagree: 4 samples"
        assert pacs.stored == []


@pytest.mark.parametrize(("ends", "state"), [(0, "d"), (1, "d"), (2, "d"), (3, "h")])
async def test_an_instance_over_which_the_gateway_ended_begins_with_another_decoder(
    street: Street, ends: int, state: str
) -> None:
    street.spool.keep("viewer", syntax=J2K)
    street.spool.ends[1] = ends
    async with street.running(viewer()):
        assert street.spool.states("viewer") == state
    assert [checks.skip for checks in street.transcoder.checks] == [ends] * (state == "d")


async def test_suspects_are_decoded_one_at_a_time_and_others_beside_them(street: Street) -> None:
    """So that the next end of the gateway tells the guilty one from those beside it."""
    for number in range(1, 5):
        street.spool.keep("viewer", syntax=J2K)
        street.spool.ends[number] = int(number < 4)
    street.transcoder.gate.clear()
    derivations = Derivations(street.spool, street.transcoder)
    instances = [row.delivery.instance for row in street.spool.rows.values()]
    making = [
        asyncio.ensure_future(derivations.derive(each, IMPLICIT_LE, Rendition()))
        for each in instances
    ]
    await quiet()
    assert [stem for stem, _, _ in street.transcoder.calls] == ["1", "4"]
    street.transcoder.gate.set()
    await asyncio.gather(*making)
    assert len(street.transcoder.calls) == 4


async def test_a_failure_of_one_suspect_does_not_stop_the_next(street: Street) -> None:
    for number in (1, 2):
        street.spool.keep("viewer", syntax=J2K)
        street.spool.ends[number] = 1
    street.transcoder.failures["1"] = PermanentFailure("cut")
    async with street.running(viewer()):
        await asyncio.sleep(0)
        assert street.spool.states("viewer") == "hd"
