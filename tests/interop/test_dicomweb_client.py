"""dicomweb-client (Python): every method that it has, with every argument, on the running service.

What a later version of the library has beside is noticed for want of a row in the table.
"""

import inspect
from collections.abc import Iterator
from pathlib import Path

import pytest
from dicomweb_client import DICOMwebClient
from dicomweb_client.session_utils import add_certs_to_session, create_session_from_user_pass
from requests.exceptions import HTTPError

from gateway.serve.auth import password_line
from tests.interop.client_studies import DOCUMENT, REAL, ROOT, SLICES, STUDIES, image, real, uids
from tests.interop.dicomweb_client_rows import TABLE, Ask, check_slices, parameters
from tests.peers import RunningGateway, until
from tests.real_files import needs_real_files
from tests.serve.objects import EXPLICIT_LE
from tests.serve.test_tls import certificate

pytestmark = pytest.mark.interop


def url_of(gateway: RunningGateway) -> str:
    return f"http://127.0.0.1:{gateway.web_port}/dicom-web"


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    folder = tmp_path_factory.mktemp("dicomweb-client")
    gateway = RunningGateway("serve: { allow_delete: true }\n", folder).start()
    try:
        client = DICOMwebClient(url_of(gateway))
        for study in STUDIES:
            slices = [image(folder, study, number) for number in range(1, SLICES + 1)]
            answer = client.store_instances(slices, f"{ROOT}.{study}")
            assert len(answer.ReferencedSOPSequence) == SLICES
            assert "FailedSOPSequence" not in answer
        for _, _, ds in real():
            client.store_instances([ds])
        yield gateway
    finally:
        gateway.stop()


def test_every_method_has_a_row() -> None:
    public = {name for name, _ in inspect.getmembers(DICOMwebClient) if name[0] != "_"}
    assert public == TABLE.keys()


@needs_real_files
def test_real_files_are_among_what_is_asked_for() -> None:
    assert [name for _, name, _ in real()] == [*REAL, DOCUMENT]


@pytest.mark.parametrize("method", sorted(TABLE))
def test_method(method: str, gateway: RunningGateway, tmp_path: Path) -> None:
    ask = Ask(DICOMwebClient(url_of(gateway)), method, tmp_path)
    TABLE[method](ask)
    assert ask.names == parameters(method)


def test_how_a_client_is_made(gateway: RunningGateway) -> None:
    """A prefix for each service, headers of its own, a token where authentication is off."""
    prefix = dict.fromkeys(("qido", "wado", "stow", "delete"), "dicom-web")
    client = DICOMwebClient(
        url_of(gateway).removesuffix("/dicom-web"),
        **{f"{name}_url_prefix": path for name, path in prefix.items()},
        headers={"Authorization": "Bearer None", "Accept-Encoding": "identity"},
        chunk_size=1000,
        permissive_uid=True,
        timeout=(5, 20),
    )
    assert (client.protocol, client.scheme, client.host) == ("http", "http", "127.0.0.1")
    assert (client.port, client.url_prefix) == (gateway.web_port, "")
    assert len(client.search_for_instances(f"{ROOT}.1")) == SLICES
    check_slices(client.retrieve_series(*uids(1)[:2]), EXPLICIT_LE, 1, range(1, SLICES + 1))


def test_a_password_over_https(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)  # requests sets them above the session's own
    pem, users = certificate(tmp_path, "server"), tmp_path / "users"
    users.write_text(password_line("ann", "secret"))
    gateway = RunningGateway("", tmp_path / "gateway")
    listen = f'"127.0.0.1:{gateway.web_port}"'
    more = f'tls: {{ certificate: "{pem}" }}, auth: {{ default: {{ users_file: "{users}" }} }}'
    text = gateway.config.read_text()
    gateway.config.write_text(text.replace(listen, f"{listen}, {more}"))
    with gateway:
        url = f"https://localhost:{gateway.web_port}/dicom-web"
        ann, guest = (
            DICOMwebClient(url, add_certs_to_session(session, str(pem)))
            for session in map(create_session_from_user_pass, ("ann", "ann"), ("secret", "guess"))
        )
        ann.store_instances([image(tmp_path, 1, 1)])
        assert len(ann.search_for_instances()) == 1
        with pytest.raises(HTTPError, match="401"):
            guest.search_for_studies()


def test_deletion_is_off_unless_it_is_configured(tmp_path: Path) -> None:
    with RunningGateway("", tmp_path) as gateway:
        client = DICOMwebClient(url_of(gateway))
        client.store_instances([image(tmp_path, 1, 1)])
        with pytest.raises(HTTPError, match="405"):
            client.delete_instance(*uids(1, 1))
        until(lambda: len(client.search_for_instances()) == 1, "it is still there")
