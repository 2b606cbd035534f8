"""The whole gateway in one process: it starts, says whether it is ready, delivers and stops."""

import asyncio
import signal
import socket
import threading
from datetime import timedelta
from pathlib import Path

import aiohttp
import pytest
from structlog.testing import capture_logs

from gateway.config import Config, load_text
from gateway.failures import TemporaryFailure
from gateway.operate import upkeep
from gateway.service import Service, utc_now
from gateway.spool import Queue, Spool
from gateway.transcode import matrix
from gateway.transcode.outcome import Outcome
from tests.peers import RunningGateway, until
from tests.peers.process import free_port
from tests.scripted_peer import ScriptedPeer, data_set, listening, store
from tests.scripted_peer import until as soon

CONFIG = """
version: 1
gateway:
  dicom: {{ listen: "127.0.0.1:{dicom}" }}
  web: {{ listen: "127.0.0.1:{web}" }}
  spool: {{ path: "{spool}", refuse_below_free: {watermark} }}
  transcode: {{ workers: 1 }}
nodes:
  pacs:
    dimse: {{ ae_title: PACS, host: 127.0.0.1, port: {pacs} }}
routes:
  - name: all
    send_to: [pacs]
    delivery: {{ retry: 1h..1h }}
"""


def configuration(folder: Path, **values: object) -> Config:
    """Free ports, and a node that nobody plays, unless told otherwise."""
    given = {"dicom": 0, "web": 0, "pacs": free_port(), "watermark": "1MiB", **values}
    return load_text(CONFIG.format(spool=folder / "spool", **given), "test")


async def ready(service: Service) -> tuple[int, str]:
    """What /readyz answers."""
    address = f"http://127.0.0.1:{service.web_port}/readyz"
    async with aiohttp.ClientSession() as session, session.get(address) as answer:
        return answer.status, (await answer.text()).strip()


async def send(service: Service, *uids: str) -> None:
    """Instances by C-STORE, each acknowledged."""
    async with await ScriptedPeer.connect(service.dicom_port) as peer:
        await peer.associate()
        for uid in uids:
            await peer.send(store(uid, data_set(uid)))
            assert (await peer.answer()).status == 0


async def test_it_starts_takes_in_and_stops_and_the_queue_has_what_is_owed(
    tmp_path: Path,
) -> None:
    config = configuration(tmp_path)
    async with Service(config) as service:
        assert await ready(service) == (200, "ready")
        await send(service, "1.2.1", "1.2.2")
    for port in (service.dicom_port, service.web_port):
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)
    with Queue(tmp_path / "spool", clock=utc_now) as queue:
        assert [row.state for row in queue.list()] == ["owed", "owed"]
    await Spool.open(tmp_path / "spool", clock=utc_now).aclose()


@pytest.mark.parametrize("which", ["web", "dicom"])
async def test_a_port_that_is_taken_is_named_with_its_setting(tmp_path: Path, which: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        wanted = rf"127\.0\.0\.1:{port} \(gateway\.{which}\.listen\): Address already in use"
        with pytest.raises(TemporaryFailure, match=wanted):
            async with Service(configuration(tmp_path, **{which: port})):
                pass
    await Spool.open(tmp_path / "spool", clock=utc_now).aclose()


async def test_it_is_ready_although_there_is_nobody_to_deliver_to(tmp_path: Path) -> None:
    text = CONFIG.split("nodes:")[0].format(
        spool=tmp_path / "spool", dicom=0, web=0, watermark="1MiB"
    )
    async with Service(load_text(text, "test")) as service:
        await asyncio.sleep(0)
        assert await ready(service) == (200, "ready")


async def test_it_is_not_ready_below_the_watermark(tmp_path: Path) -> None:
    async with Service(configuration(tmp_path, watermark="900000TiB")) as service:
        status, reason = await ready(service)
    assert status == 503
    assert "refuse_below_free" in reason


async def test_it_is_not_ready_on_a_disk_that_failed_until_a_probe_succeeds(
    tmp_path: Path,
) -> None:
    async with Service(configuration(tmp_path)) as service:
        service.spool._disk.distrust("cannot sync 7.part")
        assert await ready(service) == (503, "the spool's disk has failed: cannot sync 7.part")
        await soon(lambda: not service.spool.broken)
        assert await ready(service) == (200, "ready")


async def test_it_is_not_ready_when_nothing_is_delivered_any_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def dead() -> None:
        raise RuntimeError("a bug")

    service = Service(configuration(tmp_path))
    monkeypatch.setattr(service._scheduler, "run", dead)
    with capture_logs() as logs:
        async with service:
            await soon(service._delivering.done)
            status, reason = await ready(service)
    assert (status, reason.split(":")[0]) == (503, "deliveries have come to an end")
    assert "scheduler ended with an error" in [log["event"] for log in logs]


async def test_it_is_not_ready_while_it_stops(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = []
    service = Service(configuration(tmp_path))

    stop = service._scp.stop

    async def look_and_stop(grace: float) -> None:
        answers.append(await ready(service))
        await stop(grace)

    async with service:
        monkeypatch.setattr(service._scp, "stop", look_and_stop)
    assert answers == [(503, "the gateway stops")]


async def test_receiving_and_delivering_share_one_drain_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each takes all the time it may, and would wait for ever for the other one to begin."""
    began, given = asyncio.Barrier(2), []

    async def last(grace: float) -> None:
        given.append(grace)
        async with asyncio.timeout(10):
            await began.wait()

    config = configuration(tmp_path)
    service = Service(config)
    with capture_logs() as logs:
        async with service:
            stop, aclose = service._scp.stop, service._scheduler.aclose
            monkeypatch.setattr(service._scp, "stop", last)
            monkeypatch.setattr(
                service._scheduler, "aclose", lambda grace: last(grace.total_seconds())
            )
        await asyncio.gather(stop(0), aclose())
    assert given == [config.gateway.drain_timeout] * 2
    assert [log for log in logs if log["log_level"] == "error"] == []


async def test_instances_are_taken_in_while_the_decoders_hang_in_their_self_test(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = threading.Event()

    def hangs(stop: threading.Event) -> list[Outcome]:
        begun.set()
        stop.wait()
        raise TemporaryFailure("the decoders' self-test was stopped")

    monkeypatch.setenv("CACHE_DIRECTORY", str(tmp_path / "cache"))
    monkeypatch.setattr(matrix, "_known", [])
    monkeypatch.setattr(matrix, "measure", hangs)
    with capture_logs() as logs:
        async with asyncio.timeout(30), Service(configuration(tmp_path)) as service:
            await soon(begun.is_set)
            assert await ready(service) == (200, "ready")
            await send(service, "1.2.1")
    assert [log for log in logs if log["log_level"] == "error"] == []
    with Queue(tmp_path / "spool", clock=utc_now) as queue:
        assert [row.state for row in queue.list()] == ["owed"]


async def test_a_self_test_that_fails_is_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(stop: threading.Event) -> list[Outcome]:
        raise TemporaryFailure("the decoders' self-test does not run: exit 1")

    monkeypatch.setenv("CACHE_DIRECTORY", str(tmp_path / "cache"))
    monkeypatch.setattr(matrix, "_known", [])
    monkeypatch.setattr(matrix, "measure", fails)
    with capture_logs() as logs:
        async with Service(configuration(tmp_path)) as service:
            said = "decoders cannot be tested: transcoding waits"
            await soon(lambda: said in [log["event"] for log in logs])
            await send(service, "1.2.1")


async def test_a_node_taken_out_of_the_configuration_is_told_of_at_the_next_start(
    tmp_path: Path,
) -> None:
    config = configuration(tmp_path)
    async with Service(config) as service:
        await send(service, "1.2.1")
    without = config.model_copy(update={"nodes": {}, "routes": ()})
    with capture_logs() as logs:
        async with Service(without):
            pass
    (alarm,) = [log for log in logs if log["log_level"] == "warning"]
    assert (alarm["destination"], alarm["owed"]) == ("pacs", 1)


async def test_retention_goes_on_after_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "MINUTE", timedelta(0))
    tidied: list[None] = []

    async def tidy(_: object) -> None:
        tidied.append(None)
        raise NotADirectoryError(20, "Not a directory")

    service = Service(configuration(tmp_path))
    monkeypatch.setattr(service.spool, "tidy", tidy)
    async with service:
        await soon(lambda: len(tidied) > 3)


async def test_a_retry_by_hand_wakes_a_lane_that_rests(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "LOOK_EVERY", timedelta(milliseconds=10))
    up, called = asyncio.Event(), asyncio.Event()

    async def node(peer: ScriptedPeer) -> None:
        if up.is_set():
            await peer.accept()
            called.set()

    with capture_logs() as logs:
        async with listening(node) as port, Service(configuration(tmp_path, pacs=port)) as service:
            await send(service, *(f"1.2.{number}" for number in range(5)))
            await soon(lambda: "destination rests" in [log["event"] for log in logs])
            up.set()
            with Queue(tmp_path / "spool", clock=utc_now) as queue:
                assert queue.retry(destination="pacs") == 5
            async with asyncio.timeout(10):
                await called.wait()


async def test_on_sigterm_a_message_on_its_way_is_taken_and_the_process_ends_well(
    tmp_path: Path,
) -> None:
    gateway = await asyncio.to_thread(RunningGateway("", tmp_path).start)
    message = store("1.2.1", data_set("1.2.1", pixels=5_000))
    try:
        async with await ScriptedPeer.connect(gateway.port) as peer:
            await peer.associate()
            await peer.send(message[:3_000])
            gateway.child.process.send_signal(signal.SIGTERM)
            await asyncio.to_thread(gateway.wait_logged, "gateway stops")
            await peer.send(message[3_000:])
            assert (await peer.answer()).status == 0
        await asyncio.to_thread(until, lambda: not gateway.running(), "the gateway has ended")
        assert gateway.stop() == 0
    finally:
        gateway.kill()
    assert [path.name for path in (gateway.spool / "instances").rglob("*.*")] == ["1.dcm"]
    assert "gateway stopped" in gateway.log_text()
