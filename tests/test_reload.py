"""The configuration changes while instances come and go: nothing is lost, nothing doubled."""

import asyncio
import signal
from collections import Counter
from pathlib import Path

import aiohttp
import pytest
from structlog.testing import capture_logs

from gateway.clock import utc_now
from gateway.config import load
from gateway.operate import upkeep
from gateway.service import Service
from gateway.spool import Queue
from tests.peers import RunningGateway
from tests.peers.process import free_port
from tests.scripted_peer import ScriptedPeer, data_set, store
from tests.scripted_peer import until as soon
from tests.storing_node import Node, serving

HEAD = """
version: 1
gateway:
  dicom: {{ listen: "127.0.0.1:0" }}
  web: {{ listen: "127.0.0.1:0" }}
  spool: {{ path: "{folder}/spool", refuse_below_free: 1MiB }}
  transcode: {{ workers: 1 }}
  reload: {reload}
nodes:
"""
NODE = "  {name}: {{ dimse: {{ ae_title: {name}, host: 127.0.0.1, port: {port}{more} }} }}\n"
ROUTE = "  - {{ name: to-{name}, send_to: [{name}], delivery: {{ retry: 1s..1s }} }}\n"


def write(file: Path, reload: str = "on-request", more: str = "", **nodes: int) -> None:
    """A configuration with a route to each node (name -> port), put in its place at once."""
    text = HEAD.format(folder=file.parent, reload=reload)
    text += "".join(NODE.format(name=name, port=nodes[name], more=more) for name in nodes)
    text += "routes:\n" + "".join(ROUTE.format(name=name) for name in nodes)
    new = file.with_suffix(".new")
    new.write_text(text)
    new.replace(file)


def replace(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


async def send(service: Service, *uids: str) -> None:
    """Instances by C-STORE, each acknowledged."""
    async with await ScriptedPeer.connect(service.dicom_port) as peer:
        await peer.associate()
        for uid in uids:
            await peer.send(store(uid, data_set(uid)))
            assert (await peer.answer()).status == 0


async def ask(service: Service, method: str, path: str) -> tuple[int, dict[str, object]]:
    """A resource of the gateway in JSON."""
    url = f"http://127.0.0.1:{service.web_port}{path}"
    async with aiohttp.ClientSession() as session, session.request(method, url) as answer:
        return answer.status, await answer.json()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "gateway.yaml"


async def test_reloading_under_load_loses_nothing_and_doubles_nothing(file: Path) -> None:
    """Nodes change, come and go while 800 instances stream in over four associations."""
    pacs, archive = Node(), Node()
    async with serving(pacs, archive):
        write(file, PACS=pacs.port)
        async with Service(load(file), file) as service:
            uids = [[f"1.2.{sender}.{number}" for number in range(200)] for sender in range(4)]
            sending = asyncio.gather(*(send(service, *each) for each in uids))
            reloads = await reload_until(sending, service, file, pacs, archive)
            await sending
            write(file, PACS=pacs.port, ARCHIVE=archive.port)
            assert (await ask(service, "POST", "/api/reload"))[0] == 200
            await soon(lambda: not owed(file))
    with Queue(file.parent / "spool", clock=utc_now) as queue:
        rows = queue.list(state="delivered", limit=10_000)
        assert queue.contradictions() == []
    assert reloads >= 10
    assert pacs.confirmed == Counter(uid for each in uids for uid in each)
    archived = Counter(row.sop_instance_uid for row in rows if row.destination == "ARCHIVE")
    assert archive.confirmed == archived
    assert 0 < archive.confirmed.total() < 800


async def reload_until(
    sending: "asyncio.Future[list[None]]", service: Service, file: Path, pacs: Node, archive: Node
) -> int:
    """Put one file after the other in force, among them bad ones; how often it succeeded."""
    times = 0
    while not sending.done():
        seen = pacs.confirmed.total()
        write(file, PACS=pacs.port, ARCHIVE=archive.port)
        times += (await ask(service, "POST", "/api/reload"))[0] == 200
        write(file, PACS=pacs.port, more=f", response_timeout: {60 + times}s")
        times += (await ask(service, "POST", "/api/reload"))[0] == 200
        write(file, PACS=pacs.port, more=", colour: RGB")
        assert (await ask(service, "POST", "/api/reload"))[0] == 422
        await soon(lambda seen=seen: sending.done() or pacs.confirmed.total() > seen + 50)
    return times


def owed(file: Path) -> int:
    with Queue(file.parent / "spool", clock=utc_now) as queue:
        return len(queue.list(state="owed"))


async def test_a_node_that_is_taken_away_keeps_what_it_is_owed_and_has_it_when_it_is_back(
    file: Path,
) -> None:
    pacs = Node()
    async with serving(pacs):
        write(file, PACS=free_port())
        async with Service(load(file), file) as service:
            await send(service, "1.2.1")
            write(file, OTHER=free_port())
            with capture_logs() as logs:
                assert (await ask(service, "POST", "/api/reload"))[0] == 200
                await soon(lambda: [log for log in logs if "owed" in log])
            (alarm,) = [log for log in logs if "owed" in log]
            assert (alarm["destination"], alarm["owed"]) == ("PACS", 1)
            write(file, PACS=pacs.port)
            assert (await ask(service, "POST", "/api/reload"))[0] == 200
            with Queue(file.parent / "spool", clock=utc_now) as queue:
                queue.retry(destination="PACS")
            await soon(lambda: pacs.confirmed)
    assert pacs.confirmed == Counter(["1.2.1"])


async def test_what_is_in_force_and_what_was_wrong_is_shown(file: Path) -> None:
    write(file, PACS=104)
    async with Service(load(file), file) as service:
        status, first = await ask(service, "GET", "/api/config")
        assert (status, first["last_error"], first["needs_restart"]) == (200, None, [])
        replace(file, "PACS: {", "PACS: { dicom: 1,")
        status, answer = await ask(service, "POST", "/api/reload")
        assert (status, answer["applied"], answer["hash"]) == (422, False, first["hash"])
        (problem,) = answer["problems"]
        assert f"{file}:10:11: unknown key 'dicom' in nodes.PACS" in problem
        _, shown = await ask(service, "GET", "/api/config")
        assert shown["last_error"]["text"] == problem
        write(file, "on-change", PACS=104)
        replace(file, "workers: 1", "workers: 2")
        status, answer = await ask(service, "POST", "/api/reload")
        assert (status, answer["applied"], answer["last_error"]) == (200, True, None)
        assert answer["needs_restart"] == ["gateway.transcode.workers"]
        assert answer["hash"] != first["hash"]


async def test_a_file_that_breaks_one_of_its_examples_is_refused(file: Path) -> None:
    write(file, PACS=104)
    async with Service(load(file), file) as service:
        example = "examples:\n  - { given: { Modality: CT }, expect: { to-OTHER: [OTHER] } }\n"
        replace(file, "routes:\n", f"{example}routes:\n")
        status, answer = await ask(service, "POST", "/api/reload")
        assert (status, answer["applied"]) == (422, False)
        assert f"{file}:12:" in answer["problems"][0]


async def test_a_changed_file_comes_into_force_by_itself_where_that_is_wanted(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.service.LOOK_EVERY", upkeep.LOOK_EVERY / 100)
    write(file, "on-change", PACS=104)
    async with Service(load(file), file) as service:
        write(file, "on-change", PACS=105)
        await soon(lambda: service.config.nodes["PACS"].dimse.port == 105)


async def test_who_may_open_associations_is_reloaded(file: Path) -> None:
    write(file, PACS=104)
    async with Service(load(file), file) as service:
        await send(service, "1.2.1")
        replace(file, 'dicom: { listen: "127.0.0.1:0"', "dicom: { accept_from: [NOBODY]")
        assert (await ask(service, "POST", "/api/reload"))[0] == 200
        with pytest.raises(AssertionError, match="calling AE title not recognized"):
            await send(service, "1.2.2")


async def test_on_sighup_the_file_is_read_anew_and_the_process_goes_on(tmp_path: Path) -> None:
    gateway = RunningGateway("nodes: {}\n", tmp_path)
    try:
        await asyncio.to_thread(gateway.start)
        gateway.config.write_text(gateway.config.read_text().replace("{}", "[]"))
        gateway.child.process.send_signal(signal.SIGHUP)
        await asyncio.to_thread(gateway.wait_logged, "configuration not reloaded")
        assert gateway.metric("gateway_config_reload_success") == 0
        gateway.config.write_text(gateway.config.read_text().replace("[]", "{}"))
        gateway.child.process.send_signal(signal.SIGHUP)
        await asyncio.to_thread(gateway.wait_logged, "configuration reloaded")
        assert gateway.metric("gateway_config_reload_success") == 1
        assert gateway.stop() == 0
    finally:
        gateway.kill()
