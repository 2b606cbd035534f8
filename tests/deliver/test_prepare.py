"""What is sent: as stored or decoded, in which colours, and what becomes of what cannot be."""

from collections.abc import Collection
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import pydicom
import pytest
from PIL import Image
from pydicom.encaps import generate_frames

from gateway.deliver.policy import Destination, RoutePolicy
from gateway.deliver.prepare import prepare
from gateway.derivation import Derivations, Derived
from gateway.failures import PermanentFailure
from gateway.model import UID, Instance, Rendition
from gateway.transcode.choose import NativeTooLong
from gateway.transcode.reader import Reader
from gateway.transfer_syntax import (
    BY_NAME,
    DEFLATED,
    EXPLICIT_LE,
    IMPLICIT_LE,
    J2K,
    JPEG_BASELINE,
)
from tests.deliver.fakes import FakeSpool, FakeTime, FakeTranscoder
from tests.deliver.in_this_process import InThisProcess
from tests.deliver.unreliable_sender import UnreliableSender
from tests.real_files import FOLDER, needs_real_files

MPEG2 = BY_NAME["mpeg2-main"].uid
RGB = Rendition(color="RGB")
NATIVE_ONLY = (EXPLICIT_LE, IMPLICIT_LE)
TOO_LONG = NativeTooLong("uncompressed this instance has 5000000000 bytes of Pixel Data")
CUT = PermanentFailure("frame 3: the codestream is cut")


class Table:
    """Everything that ``prepare`` is given, with a node that accepts and reads anything."""

    def __init__(self, folder: Path) -> None:
        self.spool = FakeSpool(folder, FakeTime())
        self.transcoder: Any = FakeTranscoder()

    def instance(
        self, syntax: UID = J2K, photometric: str = "", *, mislabelled: bool = False
    ) -> Instance:
        header = {"PhotometricInterpretation": photometric} if photometric else {}
        self.spool.keep("viewer", syntax=syntax, **header)
        kept = self.spool.rows[len(self.spool.rows)].delivery.instance
        return replace(kept, mislabelled=mislabelled)

    async def prepare(
        self,
        instance: Instance,
        accepted: Collection[UID] = (J2K, *NATIVE_ONLY),
        rendition: Rendition = RGB,
        can_read: Collection[UID] | None = None,
        **policy: str,
    ) -> Derived:
        reader = Reader("viewer", None if can_read is None else frozenset(can_read), rendition)
        destination = Destination(reader, UnreliableSender())
        derivations = Derivations(self.spool, self.transcoder)
        return await prepare(instance, accepted, destination, RoutePolicy(**policy), derivations)


@pytest.fixture
def table(tmp_path: Path) -> Table:
    return Table(tmp_path)


@pytest.mark.parametrize(
    ("syntax", "photometric", "asked"),
    [
        (JPEG_BASELINE, "RGB", [RGB]),
        (J2K, "RGB", [RGB]),
        (J2K, "YBR_RCT", [RGB]),
        (J2K, "", [RGB]),
        (EXPLICIT_LE, "YBR_FULL", [RGB]),
        (EXPLICIT_LE, "RGB", []),
        (DEFLATED, "RGB", []),
        (J2K, "MONOCHROME1", []),
        (JPEG_BASELINE, "MONOCHROME2", []),
    ],
)
async def test_a_compressed_colour_image_is_always_asked_for_in_rgb(
    table: Table, syntax: UID, photometric: str, asked: list[Rendition]
) -> None:
    ready = await table.prepare(table.instance(syntax, photometric), (syntax, *NATIVE_ONLY))
    assert [rendition for _, _, rendition in table.transcoder.calls] == asked
    assert ready.transfer_syntax == (EXPLICIT_LE if asked else syntax)


async def test_where_nothing_uncompressed_is_taken_what_says_rgb_is_believed(
    table: Table,
) -> None:
    ready = await table.prepare(table.instance(J2K, "RGB"), [J2K])
    assert (ready.transfer_syntax, table.transcoder.calls) == (J2K, [])
    ready = await table.prepare(table.instance(J2K, "RGB"), can_read=[J2K])
    assert (ready.transfer_syntax, table.transcoder.calls) == (J2K, [])
    with pytest.raises(PermanentFailure, match=r"reads RGB .* accepted j2k only"):
        await table.prepare(table.instance(J2K, "YBR_ICT"), [J2K])


async def test_video_is_never_asked_for_in_rgb(table: Table) -> None:
    ready = await table.prepare(table.instance(MPEG2, "YBR_PARTIAL_420"), [MPEG2, *NATIVE_ONLY])
    assert (ready.transfer_syntax, table.transcoder.calls) == (MPEG2, [])


MISLABELLED = ("fo-dicom__GH195.dcm", "pylibjpeg-data__SC_rgb_jpeg_lossy_gdcm.dcm")
"""The real files whose header says RGB and whose JPEG is YCbCr."""


@pytest.mark.data
@needs_real_files
@pytest.mark.parametrize("name", MISLABELLED)
async def test_jpeg_that_is_no_rgb_as_its_header_says_becomes_rgb(table: Table, name: str) -> None:
    table.transcoder = InThisProcess()
    source = pydicom.dcmread(FOLDER / name, force=True)
    instance = table.instance(source.file_meta.TransferSyntaxUID, "RGB")
    instance.file.write_bytes((FOLDER / name).read_bytes())
    ready = await table.prepare(instance, (instance.transfer_syntax, *NATIVE_ONLY))
    made = pydicom.dcmread(ready.file)
    assert made.PhotometricInterpretation == "RGB"
    jpeg = next(generate_frames(source.PixelData, number_of_frames=1))
    with Image.open(BytesIO(jpeg)) as image:
        rgb = image.convert("RGB").tobytes()
    assert made.PixelData == rgb + b"\0" * (len(rgb) % 2)
    assert any("YBR_FULL" in note for note in ready.notes)


@pytest.mark.parametrize("change", ["if-needed", "always"])
@pytest.mark.parametrize(
    ("photometric", "accepted", "can_read", "sent"),
    [
        ("RGB", (J2K, *NATIVE_ONLY), None, True),
        ("RGB", (J2K, *NATIVE_ONLY), (J2K, EXPLICIT_LE), True),
        ("MONOCHROME2", (J2K, *NATIVE_ONLY), (J2K, EXPLICIT_LE), True),
        ("RGB", NATIVE_ONLY, None, False),
        ("RGB", (J2K, *NATIVE_ONLY), NATIVE_ONLY, False),
        ("YBR_ICT", (J2K, *NATIVE_ONLY), None, False),
    ],
)
async def test_what_is_too_long_uncompressed_goes_as_stored_where_that_can_be_read(
    table: Table,
    change: str,
    photometric: str,
    accepted: tuple[UID, ...],
    can_read: tuple[UID, ...] | None,
    sent: bool,
) -> None:
    instance = table.instance(J2K, photometric)
    table.transcoder.failures["1"] = TOO_LONG
    ready = table.prepare(instance, accepted, can_read=can_read, change=change)
    if sent:
        assert await ready == Derived(instance.file, J2K)
    else:
        with pytest.raises(NativeTooLong, match="5000000000 bytes"):
            await ready


@pytest.mark.parametrize(
    ("if_undecodable", "failure", "said"),
    [
        ("quarantine", CUT, "frame 3: the codestream is cut"),
        ("reject", CUT, "rejected by the route: frame 3: the codestream is cut"),
        ("reject", TOO_LONG, str(TOO_LONG)),
    ],
)
async def test_what_is_rejected_is_held_with_the_word_of_the_route(
    table: Table, if_undecodable: str, failure: PermanentFailure, said: str
) -> None:
    table.transcoder.failures["1"] = failure
    with pytest.raises(PermanentFailure) as held:
        await table.prepare(table.instance(), NATIVE_ONLY, if_undecodable=if_undecodable)
    assert str(held.value) == said


@pytest.mark.parametrize(
    ("accepted", "can_read", "sent"),
    [
        ((J2K, *NATIVE_ONLY), None, True),
        ((J2K, *NATIVE_ONLY), (J2K, EXPLICIT_LE), True),
        ((J2K, *NATIVE_ONLY), (EXPLICIT_LE,), False),
        (NATIVE_ONLY, None, False),
    ],
)
async def test_the_undecodable_goes_as_stored_only_in_a_syntax_that_the_node_reads(
    table: Table, accepted: tuple[UID, ...], can_read: tuple[UID, ...] | None, sent: bool
) -> None:
    instance = table.instance(J2K, "YBR_ICT")
    table.transcoder.failures["1"] = CUT
    ready = table.prepare(
        instance, accepted, can_read=can_read, if_undecodable="forward-as-stored"
    )
    if sent:
        assert await ready == Derived(instance.file, J2K)
    else:
        with pytest.raises(PermanentFailure, match="the codestream is cut"):
            await ready


@pytest.mark.parametrize(
    ("syntax", "accepted", "sent"),
    [
        (EXPLICIT_LE, NATIVE_ONLY, EXPLICIT_LE),
        (IMPLICIT_LE, NATIVE_ONLY, EXPLICIT_LE),
        (IMPLICIT_LE, (IMPLICIT_LE,), IMPLICIT_LE),
        (J2K, (J2K, *NATIVE_ONLY), EXPLICIT_LE),
    ],
)
async def test_pixels_under_a_wrong_label_are_derived_also_into_what_it_says(
    table: Table, syntax: UID, accepted: tuple[UID, ...], sent: UID
) -> None:
    instance = table.instance(syntax, "MONOCHROME2", mislabelled=True)
    ready = await table.prepare(instance, accepted)
    assert ready.transfer_syntax == sent
    assert ready.file != instance.file
    assert table.transcoder.calls == [("1", sent, Rendition())]


async def test_a_wrong_label_that_says_rgb_is_not_believed(table: Table) -> None:
    await table.prepare(table.instance(EXPLICIT_LE, "RGB", mislabelled=True), NATIVE_ONLY)
    assert [rendition for _, _, rendition in table.transcoder.calls] == [RGB]


async def test_what_is_never_changed_goes_under_its_wrong_label(table: Table) -> None:
    instance = table.instance(EXPLICIT_LE, mislabelled=True)
    ready = await table.prepare(instance, NATIVE_ONLY, change="never")
    assert ready == Derived(instance.file, EXPLICIT_LE)


async def test_where_nothing_uncompressed_is_taken_a_wrong_label_is_named(table: Table) -> None:
    with pytest.raises(PermanentFailure, match="its Pixel Data is not as its transfer syntax"):
        await table.prepare(table.instance(J2K, mislabelled=True), [J2K], Rendition())


async def test_a_data_set_of_odd_length_is_written_anew_in_its_own_syntax(table: Table) -> None:
    """DCMTK ends the association over one: "DIMSE: Odd Fragment Length"."""
    odd = replace(table.instance(EXPLICIT_LE, "MONOCHROME2"), size=333)
    ready = await table.prepare(odd, NATIVE_ONLY)
    assert ready.file != odd.file
    assert table.transcoder.calls == [("1", EXPLICIT_LE, Rendition())]


async def test_an_odd_length_goes_as_stored_where_it_cannot_be_mended(table: Table) -> None:
    odd = replace(table.instance(EXPLICIT_LE, "MONOCHROME2"), size=333)
    assert await table.prepare(odd, NATIVE_ONLY, change="never") == Derived(odd.file, EXPLICIT_LE)
    table.transcoder.failures["1"] = CUT
    assert await table.prepare(odd, NATIVE_ONLY) == Derived(odd.file, EXPLICIT_LE)
    coded = replace(table.instance(J2K, "MONOCHROME2"), size=333)
    assert await table.prepare(coded, (J2K,)) == Derived(coded.file, J2K)


@pytest.mark.parametrize("failure", [CUT, TOO_LONG])
async def test_under_a_wrong_label_only_a_route_that_says_so_sends_the_undecodable(
    table: Table, failure: PermanentFailure
) -> None:
    instance = table.instance(EXPLICIT_LE, "MONOCHROME2", mislabelled=True)
    table.transcoder.failures["1"] = failure
    with pytest.raises(PermanentFailure) as held:
        await table.prepare(instance, NATIVE_ONLY)
    assert held.value is failure
    ready = await table.prepare(instance, NATIVE_ONLY, if_undecodable="forward-as-stored")
    assert ready == Derived(instance.file, EXPLICIT_LE)
