"""kill -9 at every step of the durable order: all that was acknowledged is still delivered."""

import contextlib
import socket
import subprocess

import pytest

from tests.bench import objects
from tests.crash import strace
from tests.crash.strace import STEPS, Point, Strace
from tests.peers import PynetdicomReceiver, RunningGateway, Storescp, free_port, until
from tests.peers.senders import answers, environment, pynetdicom_command

pytestmark = [
    pytest.mark.crash,
    pytest.mark.interop,
    pytest.mark.skipif(bool(strace.missing()), reason=strace.missing()),
    pytest.mark.skipif(bool(Storescp.missing()), reason=Storescp.missing()),
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
ATTEMPTS = 3
PATIENCE = 5
"""Seconds that the sender waits for an answer that will not come."""


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A few small objects, sent one after the other by one association."""
    return objects.copies(objects.small_template(), tmp_path_factory.mktemp("files"), INSTANCES)


@pytest.fixture(scope="module")
def calls(tmp_path_factory, files):
    """The system calls of an undisturbed run, in order."""
    folder, port = tmp_path_factory.mktemp("undisturbed"), free_port()
    with silent(port):
        gateway = RunningGateway(ROUTES.format(port=port), folder / "gateway").start()
        try:
            tracer = Strace(gateway.pid, folder)
            assert len(send(gateway, files)) == INSTANCES
            tracer.detach()
            return tracer.points(gateway.port)
        finally:
            gateway.kill()


@contextlib.contextmanager
def silent(port):
    """A node that takes connections and says nothing, so that no try to deliver ends.

    The verdict on a try is written into the ledger too, at a time of its own: the n-th call of a
    run would be another one in the next.
    """
    with socket.socket() as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(("127.0.0.1", port))
        listening.listen()
        yield


def send(gateway, files):
    """The SOP Instance UIDs that were acknowledged before the association broke."""
    parts = pynetdicom_command(gateway.port, files, patience=PATIENCE)
    command = [str(part) for part in parts]
    ended = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=60)
    return {reply.uid for reply in answers(ended.stdout) if reply.status == 0}


def test_the_steps_come_in_the_durable_order(calls):
    """The first of each step, for the first instance."""
    steps = [point.step for point in calls]
    assert set(STEPS) <= set(steps), f"seen: {sorted(set(steps))}"
    firsts = [steps.index(step) for step in STEPS]
    assert firsts == sorted(firsts)


def test_every_answer_comes_after_its_own_sync(calls):
    """Before the n-th answer the ledger was synced at least n times, group commit aside."""
    steps = [point.step for point in calls]
    for number, at in enumerate((i for i, step in enumerate(steps) if step == "answer"), 1):
        if number > INSTANCES:
            break
        assert steps[:at].count("sync the ledger") >= number


@pytest.mark.parametrize("instance", [1, 2])
@pytest.mark.parametrize("step", STEPS)
def test_killed_before_it_could(tmp_path, files, calls, step, instance):
    """... do this step for the first or second instance: nothing acknowledged is lost.

    Threads that wake the event loop make calls of their own, at times of their own, so the kill
    may meet a step beside the one that was meant. It is a kill all the same, and checked as one.
    """
    met = []
    for attempt in range(ATTEMPTS):
        folder = tmp_path / str(attempt)
        folder.mkdir()
        point = nth(calls, step, instance, folder / "gateway" / "spool")
        met.append(killed_and_restarted(folder, files, point))
        if met[-1] == step:
            return
    pytest.skip(f"killed {ATTEMPTS} times without loss, but at: {', '.join(met)}")


ON_THE_FILE = {
    "write the object": "write",
    "sync the object": "fdatasync",
    "give it its name": "rename",
}
"""Steps that are the first of their call on the instance's own .part file."""


def nth(calls, step, instance, spool):
    """The step's call for the n-th instance; spool files are numbered from 1."""
    if step in ON_THE_FILE:
        file = spool / "instances" / "000000" / f"{instance}.part"
        return Point(ON_THE_FILE[step], 1, step, str(file))
    if step == "sync the folder":
        return Point("fsync", instance, step, str(spool / "instances" / "000000"))
    if step == "sync the ledger":  # one transaction an instance, while no delivery ends
        return Point("fdatasync", instance, step, str(spool / "ledger.sqlite3-wal"))
    seen = 1
    for point in calls:
        if point.step == step and seen == instance:
            return point
        seen += point.step == "answer"
    pytest.fail(f"no call seen for: {step}, instance {instance}")


def killed_and_restarted(folder, files, point):
    """Kill at the point, restart, wait for all that was acknowledged; the step that was met."""
    sink = PynetdicomReceiver(folder / "sink")
    gateway = RunningGateway(ROUTES.format(port=sink.port), folder / "gateway")
    try:
        with silent(sink.port):
            gateway.start()
            tracer = Strace(gateway.pid, folder, kill_at=point)
            acknowledged = send(gateway, files)
            tracer.wait_killed()
            assert not gateway.running(), "the gateway outlived its kill"
        with sink:
            gateway.kill()
            gateway.start()
            until(lambda: acknowledged <= sink.names(), f"{len(acknowledged)} at the sink", 20.0)
        assert not list(gateway.spool.rglob("*.part")), "half an object outlived the restart"
    finally:
        gateway.kill()
    return tracer.last_before_the_kill(gateway.port).step
