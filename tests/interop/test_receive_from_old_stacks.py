"""C-ECHO and C-STORE from the stacks that a hospital still meets."""

import pytest

from tests.peers import absent, start_gateway
from tests.peers.senders import (
    ctn_echo,
    ctn_store,
    dcmsend,
    echoscu,
    odil_echo,
    odil_store,
    pixelmed_echo,
    pixelmed_missing,
    pixelmed_store,
    pynetdicom_echo,
    pynetdicom_store,
    storescu,
)

pytestmark = pytest.mark.interop


def needs(*programs: str) -> pytest.MarkDecorator:
    """Skip where these programs are not installed."""
    return pytest.mark.skipif(bool(absent(*programs)), reason=absent(*programs))


needs_pixelmed = pytest.mark.skipif(bool(pixelmed_missing()), reason=pixelmed_missing())


@pytest.fixture(scope="module")
def gateway(tmp_path_factory):
    """One gateway for all stacks; it keeps what it receives and owes it to nobody."""
    running = start_gateway("", tmp_path_factory.mktemp("gateway"))
    yield running
    assert running.stop() == 0, running.log_text()


@pytest.fixture
def received(gateway):
    """How many instances the gateway has kept since the test began."""
    before = gateway.metric("gateway_received_total")
    return lambda: gateway.metric("gateway_received_total") - before


@pytest.mark.parametrize(
    "echo",
    [
        pytest.param(echoscu, marks=needs("echoscu"), id="DCMTK"),
        pytest.param(pynetdicom_echo, id="pynetdicom"),
        pytest.param(ctn_echo, marks=needs("dicom_echo"), id="CTN"),
        pytest.param(odil_echo, marks=needs("odil"), id="odil"),
        pytest.param(pixelmed_echo, marks=needs_pixelmed, id="PixelMed"),
    ],
)
def test_an_echo_is_answered_with_success(gateway, echo):
    sent = echo(gateway.port)
    assert sent.ok, sent.output


@needs("echoscu")
def test_many_contexts_and_syntaxes_in_one_echo_are_answered(gateway):
    """128 presentation contexts with 38 transfer syntaxes each: PS3.8 9.3.2.2 allows 128."""
    sent = echoscu(gateway.port, "-ppc", "128", "-pts", "38")
    assert sent.ok, sent.output


@pytest.mark.parametrize(
    "store",
    [
        pytest.param(storescu, marks=needs("storescu"), id="DCMTK-storescu"),
        pytest.param(dcmsend, marks=needs("dcmsend"), id="DCMTK-dcmsend"),
        pytest.param(odil_store, marks=needs("odil"), id="odil"),
        pytest.param(ctn_store, marks=needs("send_image"), id="CTN"),
    ],
)
def test_what_a_sender_was_told_to_be_stored_is_kept(gateway, some, received, store):
    sent = store(gateway.port, some(3))
    assert sent.ok, sent.output
    assert received() == 3


def test_what_pynetdicom_was_told_to_be_stored_is_kept(gateway, some, received):
    replies = pynetdicom_store(gateway.port, some(3))
    assert [reply.status for reply in replies] == [0, 0, 0]
    assert received() == 3


@needs_pixelmed
def test_what_pixelmed_was_told_to_be_stored_is_kept(gateway, some, received):
    sent = pixelmed_store(gateway.port, some(1)[0])
    assert sent.ok, sent.output
    assert received() == 1


@needs("storescu")
@pytest.mark.parametrize(
    "options",
    [
        pytest.param(("+C",), id="combined-syntaxes-in-one-context"),
        pytest.param(("-x=",), id="every-storage-class-proposed"),
        pytest.param(("--max-send-pdu", "4096"), id="smallest-pdus"),
        pytest.param(("--max-send-pdu", "131072"), id="largest-pdus"),
        pytest.param(("-usr", "user", "-pwd", "secret"), id="user-identity"),
        pytest.param(("-xd", "-R"), id="deflated"),
        pytest.param(("-xb", "-R"), id="big-endian"),
    ],
)
def test_dcmtk_is_understood_however_it_negotiates(gateway, some, received, options):
    sent = storescu(gateway.port, some(2), *options)
    assert sent.ok, sent.output
    assert received() == 2


@needs("storescu")
def test_an_association_aborted_by_dcmtk_leaves_what_was_acknowledged(gateway, some, received):
    sent = storescu(gateway.port, some(2), "--abort")
    assert sent.ok, sent.output
    assert received() == 2
