"""A page that has its name resolve to this machine reads nothing of an open gateway."""

from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from gateway.serve.auth import AuthSettings, Gate, Keepers, gatekeeping
from gateway.serve.hosts import by_own_name, is_loopback, is_own, name_in
from gateway.serve.problems import problems
from tests.serve.test_auth import running


def gateway(gate: Gate, root_url: str = "") -> web.Application:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(text="here")

    keepers = Keepers(AuthSettings(read=gate))
    guards = [problems, by_own_name(keepers, lambda: root_url), gatekeeping(keepers)]
    application = web.Application(middlewares=guards)
    application.router.add_get("/dicom-web/studies", answer)
    return application


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1", 200),
        ("127.0.0.1:8080", 200),
        ("[::1]:8080", 200),
        ("10.1.2.3", 200),
        ("localhost", 200),
        ("LOCALHOST:8080", 200),
        ("gateway.hospital.example", 200),
        ("gateway.hospital.example.:443", 200),
        ("page.example", 421),
        ("page.example:8080", 421),
        ("localhost.page.example", 421),
        ("127.0.0.1.page.example", 421),
    ],
)
async def test_an_open_gateway_on_the_loopback_answers_to_its_own_names(
    host: str, status: int
) -> None:
    application = gateway(Gate(), "https://gateway.hospital.example/pacs")
    async with running(application) as url, aiohttp.ClientSession() as client:
        headers = {"Host": host}
        async with client.get(f"{url}/dicom-web/studies", headers=headers) as answer:
            assert answer.status == status
            assert ("gateway.web.root_url" in await answer.text()) == (status == 421)


async def test_where_credentials_are_asked_for_the_name_makes_no_difference(
    tmp_path: Path,
) -> None:
    (tmp_path / "tokens").write_text("secret\n")
    application = gateway(Gate(tokens_file=tmp_path / "tokens"))
    async with running(application) as url, aiohttp.ClientSession() as client:
        headers = {"Host": "public.example", "Authorization": "Bearer secret"}
        async with client.get(f"{url}/dicom-web/studies", headers=headers) as answer:
            assert answer.status == 200


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("10.1.2.3", False),
        ("fe80::1%eth0", False),
        ("::ffff:10.0.0.1", False),
    ],
)
def test_only_this_machine_calls_the_loopback(address: str, expected: bool) -> None:
    assert is_loopback(address) == expected


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("a.b:1", "a.b"),
        ("A.B.:80", "a.b"),
        ("[::1]", "::1"),
        ("[::1]:80", "::1"),
        ("", ""),
        ("a:", "a"),
    ],
)
def test_a_host_is_read_without_its_port(host: str, name: str) -> None:
    assert name_in(host) == name


def test_who_names_no_host_is_no_browser() -> None:
    assert is_own("", set())
