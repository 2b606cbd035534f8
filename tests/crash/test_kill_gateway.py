"""kill -9 at every step of the durable order: all that was acknowledged is still delivered."""

import contextlib
import socket

import pytest

from tests.crash import strace
from tests.crash.strace import STEPS, Point, Strace
from tests.interop import wire
from tests.interop.wire import Hand
from tests.peers import PynetdicomReceiver, RunningGateway, free_port, until

pytestmark = [
    pytest.mark.crash,
    pytest.mark.skipif(bool(strace.missing()), reason=strace.missing()),
]

ROUTES = """\
nodes:
  sink:
    dimse: {{ ae_title: SINK, host: 127.0.0.1, port: {port} }}
routes:
  - name: everything
    send_to: [sink]
    delivery: {{ retry: 1s..1s }}
"""

INSTANCES = 3


@pytest.fixture(scope="module")
def sink(tmp_path_factory):
    """The node that gets what outlived a kill."""
    with PynetdicomReceiver(tmp_path_factory.mktemp("sink")) as receiver:
        yield receiver


@pytest.fixture(scope="module")
def calls(tmp_path_factory):
    """The system calls of an undisturbed run, in order."""
    folder, port = tmp_path_factory.mktemp("undisturbed"), free_port()
    with silent(port):
        gateway = RunningGateway(ROUTES.format(port=port), folder / "gateway").start()
        try:
            with Hand(gateway.port) as hand:
                hand.associate()
                tracer = Strace(gateway.pid, folder)
                assert len(send(hand, "1.2.3", "1.2.4", "1.2.5")) == INSTANCES
                tracer.detach()
            return tracer.calls(gateway.port)
        finally:
            gateway.kill()


@contextlib.contextmanager
def silent(port):
    """A node that lets nobody in: its queue of connections is full, so that none is ever made.

    No try to deliver ends, so the ledger is written for what is received alone.
    """
    with socket.socket() as listening, socket.socket() as first:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(("127.0.0.1", port))
        listening.listen(0)
        first.connect(("127.0.0.1", port))
        yield


def send(hand, *uids):
    """Instances one after the other; the UIDs acknowledged before the connection broke."""
    acknowledged = set()
    for uid in uids:
        hand.send(wire.fragment(wire.store_request(uid), command=True))
        hand.send(wire.fragment(wire.data_set(uid)))
        status = hand.status()
        if status is None:
            break
        assert status == 0
        acknowledged.add(uid)
    return acknowledged


def test_the_steps_come_in_the_durable_order(calls):
    """The first of each step, for the first instance."""
    steps = [call.step for call in calls]
    assert set(STEPS) <= set(steps), f"seen: {sorted(set(steps))}"
    firsts = [steps.index(step) for step in STEPS]
    assert firsts == sorted(firsts)


def test_every_answer_comes_after_its_own_sync(calls):
    """Before the n-th answer the ledger was synced at least n times, group commit aside."""
    steps = [call.step for call in calls]
    for number, at in enumerate((i for i, step in enumerate(steps) if step == "answer"), 1):
        if number > INSTANCES:
            break
        assert steps[:at].count("sync the ledger") >= number


@pytest.mark.parametrize("instance", [1, 2])
@pytest.mark.parametrize("step", STEPS)
def test_killed_before_it_could(tmp_path, sink, calls, step, instance):
    """... do this step for the first or second instance: nothing acknowledged is lost."""
    port = free_port()
    gateway = RunningGateway(ROUTES.format(port=port), tmp_path / "gateway")
    try:
        with silent(port), Hand(gateway.start().port) as hand:
            hand.associate()
            first, second = (f"1.2.{STEPS.index(step) + 1}.{instance}.{n}" for n in (1, 2))
            acknowledged = send(hand, first) if instance == 2 else set()
            point = where(calls, step, instance, gateway.spool, hand)
            tracer = Strace(gateway.pid, tmp_path, kill_at=point)
            acknowledged |= send(hand, first if instance == 1 else second)
            tracer.wait_killed()
        assert not gateway.running(), "the gateway outlived its kill"
        gateway.kill()
        gateway.config.write_text(gateway.config.read_text().replace(str(port), str(sink.port)))
        gateway.start()
        until(lambda: acknowledged <= sink.names(), f"{len(acknowledged)} at the sink", 20.0)
        assert not list(gateway.spool.rglob("*.part")), "half an object outlived the restart"
    finally:
        gateway.kill()
    assert tracer.calls(gateway.port)[-1].step == step, "the last call is the one not made"
    assert len(acknowledged) == instance - 1


def where(calls, step, instance, spool, hand):
    """The step's call, which is the next of its kind on its file, folder or connection."""
    folder = spool / "instances" / "000000"
    part = folder / f"{instance}.part"  # numbered from 1
    log = spool / "ledger.sqlite3-wal"
    places = {
        "write the object": ("write", part),
        "sync the object": ("fdatasync", part),
        "give it its name": ("rename", part),
        "sync the folder": ("fsync", folder),
        "write the ledger": ("pwrite64", log),
        "sync the ledger": ("fdatasync", log),
        "answer": (
            next(call.name for call in calls if call.step == "answer"),
            strace.connection(hand.socket),
        ),
    }
    name, path = places[step]
    return Point(name, str(path))
