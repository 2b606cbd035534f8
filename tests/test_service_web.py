"""What the configuration says of the web listener is what it does."""

import io
import ssl
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
import pydicom
from pydicom.data import get_testdata_file

from gateway.config import load_text
from gateway.serve.auth import password_line
from gateway.service import Service
from tests.serve.test_tls import certificate
from tests.test_incoming import files_in

HEAD = """
version: 1
gateway:
  dicom: {{ listen: "127.0.0.1:0" }}
  spool: {{ path: "{folder}/spool", refuse_below_free: 1MiB }}
  web:
    listen: "127.0.0.1:0"
"""
JPEG_2000 = Path(str(get_testdata_file("JPEG2000.dcm"))).read_bytes()


def service(folder: Path, web: str = "", more: str = "") -> Service:
    text = (HEAD + web + more).format(folder=folder)
    return Service(load_text(text, "test"), clock=lambda: datetime.now(UTC))


async def status(url: str, method: str = "GET", **options: object) -> int:
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, url, **options) as response,  # type: ignore[arg-type]
    ):
        await response.read()
        return response.status


async def test_what_is_stored_by_http_is_found_and_retrieved_uncompressed(tmp_path: Path) -> None:
    async with service(tmp_path) as running, aiohttp.ClientSession() as session:
        url = f"http://127.0.0.1:{running.web_port}/dicom-web/studies"
        headers = {"Content-Type": "application/dicom"}
        async with session.post(url, data=io.BytesIO(JPEG_2000), headers=headers) as response:
            assert response.status == 200
        async with session.get(url) as response:
            (study,) = await response.json(content_type="application/dicom+json")
        uid = study["0020000D"]["Value"][0]
        async with session.get(f"{url}/{uid}") as response:
            assert b"1.2.840.10008.1.2.1\0" in await response.read()
        async with session.get(f"{url}/1.2.3") as response:
            assert response.status == 404


async def test_each_group_of_routes_asks_for_what_the_file_says(tmp_path: Path) -> None:
    (tmp_path / "tokens").write_text("read-me\n")
    (tmp_path / "users").write_text(password_line("ann", "secret"))
    web = """
    auth:
      default: {{ users_file: "{folder}/users" }}
      read: {{ tokens_file: "{folder}/tokens" }}
"""
    async with service(tmp_path, web) as running:
        at = f"http://127.0.0.1:{running.web_port}"
        token = {"Authorization": "Bearer read-me"}
        ann = {"Authorization": aiohttp.encode_basic_auth("ann", "secret")}
        assert await status(f"{at}/dicom-web/studies") == 401
        assert await status(f"{at}/dicom-web/studies", headers=token) == 200
        assert await status(f"{at}/dicom-web/studies", "POST", headers=token) == 401
        assert await status(f"{at}/dicom-web/studies", "POST", headers=ann) == 415
        assert await status(f"{at}/wado", headers=token) == 400
        assert await status(f"{at}/healthz") == 200
        assert await status(f"{at}/metrics") == 200


async def test_https_and_other_origins_as_the_file_says(tmp_path: Path) -> None:
    pem = certificate(tmp_path, "server")
    web = f"""
    tls: {{{{ certificate: "{pem}" }}}}
    cors: {{{{ origins: ["https://viewer.example"] }}}}
"""
    async with service(tmp_path, web) as running, aiohttp.ClientSession() as session:
        context = ssl.create_default_context(cafile=str(pem))
        url = f"https://localhost:{running.web_port}/dicom-web/studies"
        headers = {"Origin": "https://viewer.example"}
        async with session.get(url, ssl=context, headers=headers) as response:
            assert response.status == 200
            assert response.headers["Access-Control-Allow-Origin"] == "https://viewer.example"


async def test_dicomweb_can_be_switched_off(tmp_path: Path) -> None:
    async with service(tmp_path, more="serve: {{ enabled: false }}\n") as running:
        at = f"http://127.0.0.1:{running.web_port}"
        assert await status(f"{at}/dicom-web/studies") == 404
        assert await status(f"{at}/readyz") == 200


async def test_a_bad_url_is_refused_in_words(tmp_path: Path) -> None:
    async with service(tmp_path) as running, aiohttp.ClientSession() as session:
        at = f"http://127.0.0.1:{running.web_port}"
        async with session.get(f"{at}/nothing/here") as response:
            assert (response.status, await response.json()) == (404, {"error": "404: Not Found"})


async def test_deleting_takes_what_nobody_is_owed_and_only_where_it_is_allowed(
    tmp_path: Path,
) -> None:
    study = str(pydicom.dcmread(io.BytesIO(JPEG_2000)).StudyInstanceUID)
    headers = {"Content-Type": "application/dicom"}
    async with service(tmp_path) as running:
        url = f"http://127.0.0.1:{running.web_port}/dicom-web/studies"
        for _ in range(2):
            await status(url, "POST", data=io.BytesIO(JPEG_2000), headers=headers)
        assert await status(f"{url}/{study}", "DELETE") == 405
    allowed = "serve: {{ allow_delete: true }}\n"
    async with service(tmp_path, more=allowed) as running:
        url = f"http://127.0.0.1:{running.web_port}/dicom-web/studies"
        assert await status(f"{url}/{study}", "DELETE") == 204
        assert await status(f"{url}/{study}") == 404
        assert await status(f"{url}/{study}", "DELETE") == 404
    assert files_in(tmp_path) == []
    routes = """
nodes: {{ away: {{ dimse: {{ ae_title: AWAY, host: 127.0.0.1, port: 9 }} }} }}
routes: [{{ name: all, send_to: [away] }}]
"""
    async with service(tmp_path, more=allowed + routes) as running:
        url = f"http://127.0.0.1:{running.web_port}/dicom-web/studies"
        await status(url, "POST", data=io.BytesIO(JPEG_2000), headers=headers)
        assert await status(f"{url}/{study}", "DELETE") == 409
        assert await status(f"{url}/{study}") == 200
    assert len(files_in(tmp_path)) == 1
