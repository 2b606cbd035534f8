"""What a route says of priority, hours and groups is what the gateway does."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gateway.config import Config, load_text
from gateway.model import Terms
from gateway.operate import upkeep
from gateway.route.rules import compile_rules
from gateway.service import Service
from gateway.spool import Queue
from gateway.wiring import destinations, longest_retry, policies
from tests.scripted_peer import ScriptedPeer, data_set, store, until
from tests.storing_node import Node, serving

TEXT = """
version: 1
gateway:
  time_zone: UTC
  dicom: {{ listen: "127.0.0.1:0" }}
  web: {{ listen: "127.0.0.1:0" }}
  spool: {{ path: "{folder}/spool", refuse_below_free: 1MiB }}
  transcode: {{ workers: 1 }}
nodes:
  pacs: {{ dimse: {{ ae_title: PACS, host: 127.0.0.1, port: {port} }} }}
routes:
  - name: all
    send_to: [pacs]
{route}
"""


class Clock:
    """Noon on a Monday until it is moved."""

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 2, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


def configuration(route: str, folder: Path = Path("x"), port: int = 104) -> Config:
    return load_text(TEXT.format(folder=folder, port=port, route=route), "test")


def test_the_order_of_a_route_that_is_switched_off_does_not_count() -> None:
    def order(enabled: str) -> str:
        route = f"name: r, send_to: pacs, enabled: {enabled}, delivery: {{ order: by-study }}"
        (pacs,) = destinations(configuration(f"  - {{ {route} }}"), {})
        return pacs.order

    assert order("true") == "by-study"
    assert order("false") == "as-received"
    other = "    delivery: { order: newest-first }\n"
    off = "  - { name: r, send_to: pacs, enabled: false, delivery: { order: by-study } }"
    (pacs,) = destinations(configuration(other + off), {})
    assert pacs.order == "newest-first"


@pytest.fixture(autouse=True)
def _looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upkeep, "LOOK_EVERY", timedelta(milliseconds=10))


async def send(service: Service, *uids: str) -> None:
    async with await ScriptedPeer.connect(service.dicom_port) as peer:
        await peer.associate()
        for uid in uids:
            await peer.send(store(uid, data_set(uid)))
            assert (await peer.answer()).status == 0


async def test_a_series_is_delivered_when_it_is_quiet(tmp_path: Path) -> None:
    pacs, clock = Node(), Clock()
    async with serving(pacs):
        config = configuration("    group: { quiet_for: 1m }", tmp_path, pacs.port)
        async with Service(config, clock=clock) as service:
            await send(service, "1.2.1", "1.2.2")
            clock.now += timedelta(seconds=59)
            await send(service, "1.2.3")
            clock.now += timedelta(seconds=59)
            assert await service.spool.due("pacs", limit=9, now=clock()) == []
            clock.now += timedelta(seconds=1)
            await until(lambda: pacs.confirmed.total() == 3)
            await send(service, "1.2.4")
            clock.now += timedelta(seconds=60)
            await until(lambda: pacs.confirmed.total() == 4)
    assert set(pacs.confirmed.values()) == {1}


async def test_what_comes_by_day_goes_out_at_night(tmp_path: Path) -> None:
    pacs, clock = Node(), Clock()
    route = "    delivery: { during: '18:00-06:00', priority: low }"
    async with serving(pacs):
        config = configuration(route, tmp_path, pacs.port)
        async with Service(config, clock=clock) as service:
            await send(service, "1.2.1")
            evening = clock() + timedelta(hours=6)

            def rows() -> list[datetime]:
                with Queue(tmp_path / "spool", clock=clock) as queue:
                    return [row.due_at for row in queue.list(state="owed")]

            await until(lambda: rows() == [evening])
            assert pacs.confirmed.total() == 0
        clock.now = evening
        async with Service(config, clock=clock):
            await until(lambda: pacs.confirmed.total() == 1)


def test_what_the_file_says_is_what_the_stages_are_told() -> None:
    config = configuration(
        "    group: { by: study, quiet_for: 2m, deadline: 2h }\n"
        "    delivery: { priority: high, during: [mon-fri, '22:00-23:00'],"
        " objects_per_s: 5, mbit_per_s: 0.5 }"
    )
    (owed,) = compile_rules(config).routes[0].owed
    minute = timedelta(minutes=1)
    assert owed.terms == Terms(1, "study", 2 * minute, 120 * minute)
    policy = policies(config)["all"]
    assert (policy.objects_per_s, policy.mbit_per_s, policy.limited) == (5, 0.5, True)
    saturday = datetime(2026, 11, 7, 12, tzinfo=UTC)
    assert policy.opens_at(saturday) == saturday.replace(hour=22)


@pytest.mark.parametrize(
    ("route", "days"),
    [("", 0), ("    delivery: { during: sun }", 8), ("    group: { deadline: 30d }", 30)],
)
def test_no_clock_seems_set_back_to_what_only_waits(route: str, days: int) -> None:
    """What waits for its window or its group is not brought forward."""
    assert longest_retry(configuration(route)) >= timedelta(days=days)


def test_the_page_on_operation_shows_what_the_loader_takes() -> None:
    page = (Path(__file__).parents[1] / "docs" / "operation.md").read_text()
    (example,) = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    route = configuration(example).routes[0]
    assert route.group is not None
    assert (route.group.by, route.delivery.priority) == ("study", "low")
    assert [str(window) for window in route.delivery.during] == [
        "mon-fri 18:00-06:00",
        "sat",
        "sun",
    ]
