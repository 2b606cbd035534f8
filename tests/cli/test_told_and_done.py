"""What ``explain`` tells of an object is what its delivery then does, and in the same words."""

import shutil
from collections.abc import Collection
from pathlib import Path

import pytest
from pydicom.data import get_testdata_file

from gateway.cli.objects import Shown, find_objects
from gateway.cli.outcomes import Outcome, outcomes
from gateway.config import Config, load_text
from gateway.dataset.header import read_header
from gateway.deliver.prepare import prepare
from gateway.derivation import Derivations
from gateway.failures import PermanentFailure
from gateway.model import UID, Arrival, Instance, Origin
from gateway.route.explain import explain
from gateway.route.rules import compile_rules
from gateway.transfer_syntax import EXPLICIT_LE, IMPLICIT_LE, NATIVE, name_of
from gateway.wiring import destinations, policies
from tests.deliver.fakes import NOON, FakeSpool, FakeTime
from tests.deliver.in_this_process import InThisProcess

PLAIN = (EXPLICIT_LE, IMPLICIT_LE)
ORIGIN = Origin(Arrival.C_STORE)
CONFIG = """
version: 1
nodes: {{ pacs: {{ dimse: {{ ae_title: PACS, host: h }}, can_read: {{ {can_read} }} }} }}
routes: [{{ name: all, send_to: pacs, {route} }}]
"""
NODES = {
    "anything": "",
    "implicit": "syntaxes: [implicit-le]",
    "jpeg": "syntaxes: [jpeg-baseline]",
    "RGB": "color: RGB",
    "8 bits": "bits: 8",
    "RGB of 8 bits": "color: RGB, bits: 8",
    "CT": "sop_classes: [CTImageStorage]",
    "small": "max_instance: 30KiB",
    "small and implicit": "max_instance: 40KiB, syntaxes: [implicit-le]",
    "UTF-8": "charset: ISO_IR 192",
}
ROUTES = {
    "plain": "",
    "never": "pixels: { change: never }",
    "always": "pixels: { change: always }",
    "reject": "pixels: { change: always, if_undecodable: reject }",
    "as stored": "pixels: { change: always, if_undecodable: forward-as-stored }",
    "tags": "tags: { set: { StationName: CT01 } }",
    "wrong tags": "tags: { set: { StationName: 山田 } }",
}
FILES = (
    "CT_small.dcm",
    "SC_rgb_jpeg_dcmtk.dcm",
    "JPEG2000.dcm",
    "examples_palette.dcm",
    "SC_rgb_rle_16bit.dcm",
    "rtplan.dcm",
)


def configured(node: str, way: str) -> Config:
    return load_text(CONFIG.format(can_read=NODES[node], route=ROUTES[way]))


def told(file: Path, config: Config) -> tuple[Shown, Outcome]:
    rules = compile_rules(config)
    (shown,) = find_objects(str(file), rules, ORIGIN, NOON, file.parent)
    (found,) = outcomes(shown, explain(rules, shown.header, ORIGIN).decision, config)
    return shown, found


async def done(
    folder: Path, shown: Shown, config: Config, accepted: Collection[UID] | None
) -> tuple[str, str]:
    """How it is sent, or why it is held."""
    (node,), (policy,) = destinations(config, {}), policies(config).values()
    assert shown.file is not None
    given = shown.header
    stored = Instance(
        given["SOPInstanceUID"], given["SOPClassUID"], given["TransferSyntaxUID"], "1.2", "1.3",
        ORIGIN, shown.size, NOON, given, spool_id=1, file=shown.file,
    )  # fmt: skip
    if accepted is None:
        accepted = node.reader.can_read or {stored.transfer_syntax, *NATIVE}
    derivations = Derivations(FakeSpool(folder, FakeTime()), InThisProcess())
    try:
        ready = await prepare(stored, accepted, node, policy, derivations)
    except PermanentFailure as failure:
        return "held", str(failure)
    sent = read_header(ready.file, {0x00280004: "photometric"})
    return name_of(ready.transfer_syntax), sent.get("photometric", "")


@pytest.fixture(params=[*FILES, "cut"])
def file(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A file of each kind, and a JPEG whose codestream does not begin as one."""
    if request.param != "cut":
        return Path(shutil.copy(get_testdata_file(request.param), tmp_path))
    cut = tmp_path / "cut.dcm"
    whole = Path(get_testdata_file("SC_rgb_jpeg_dcmtk.dcm")).read_bytes()
    cut.write_bytes(whole.replace(b"\xff\xd8\xff", b"\xff\x00\xff"))
    return cut


@pytest.fixture
def derived(tmp_path: Path) -> Path:
    """Where derived files go."""
    folder = tmp_path / "derived"
    folder.mkdir()
    return folder


@pytest.mark.parametrize(
    ("node", "way"),
    [
        *((node, way) for node in NODES for way in ("plain", "as stored")),
        *((node, way) for node in ("anything", "implicit") for way in ROUTES),
    ],
)
async def test_what_is_told_is_done(file: Path, node: str, way: str, derived: Path) -> None:
    config = configured(node, way)
    shown, found = told(file, config)
    expected = ("held", found.held) if found.held else (found.syntax, found.photometric)
    assert await done(derived, shown, config, None) == expected


@pytest.mark.parametrize("way", ["plain", "never", "reject", "as stored", "tags"])
@pytest.mark.parametrize("node", ["anything", "8 bits", "small"])
async def test_what_is_told_of_a_node_that_does_not_accept_it_is_done(
    file: Path, node: str, way: str, derived: Path
) -> None:
    config = configured(node, way)
    shown, found = told(file, config)
    said = [each for each in found.remarks if "does not accept" in each]
    if found.syntax in ("", *map(name_of, PLAIN)):
        assert not said
        return
    form, reason = await done(derived, shown, config, PLAIN)
    assert (f": held: {reason}" if form == "held" else f": as {form}, {reason}") in said[0]
