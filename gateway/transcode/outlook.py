"""What an instance will look like in another form, told without decoding its frames."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from gateway.model import UID, Rendition
from gateway.tags import TagChanges
from gateway.transcode.choose import NO_COLOR
from gateway.transcode.codestream import Codestream
from gateway.transcode.colour import RGB, RGB_IDS, decide_colour
from gateway.transcode.form import Coding
from gateway.transcode.image_pixel import PHOTOMETRIC, STORED
from gateway.transcode.instance import make_plan
from gateway.transcode.lineage import described, others
from gateway.transcode.source import open_source
from gateway.transcode.turns import backends_for
from gateway.transfer_syntax import BY_UID, ENCAPSULATED_UNCOMPRESSED, NATIVE

_CODINGS: Final = (
    ("jpeg-lossless", Coding.JPEG_LOSSLESS),
    ("jpeg-ls", Coding.JPEG_LS),
    ("jpeg-xl", Coding.JPEG_XL),
    ("jpeg", Coding.JPEG_8),
    ("j2k", Coding.JPEG_2000),
    ("htj2k", Coding.HTJ2K),
)
"""How frames are coded, by what the name of the transfer syntax begins with."""


@dataclass(frozen=True, slots=True)
class Outlook:
    """``photometric`` is the Photometric Interpretation that goes out, "" where nobody knows it.

    ``decoder`` is the one that serves, "" where nothing is decoded, None where only the file can
    tell; ``size`` that of the Part 10 file in bytes and ``bits`` its Bits Stored, 0 and "" where
    they are those of the stored file. ``certain`` is false where a codestream
    may say otherwise than the header. ``seconds`` are the decoders of other code bases that could
    verify what is decoded, described as ``first`` is, the one that serves; it is "" where nothing
    is there to verify. ``lossy`` is the process.
    """

    photometric: str
    decoder: str | None = ""
    size: int = 0
    bits: str = ""
    certain: bool = True
    first: str = ""
    seconds: tuple[str, ...] = ()
    lossy: bool = False


def of_file(
    path: Path, target: UID, rendition: Rendition, scratch: Path, tags: TagChanges | None = None
) -> Outlook:
    """The outlook for a Part 10 file that is sent in ``target`` with changed attributes.

    Large inflated data sets are kept in an unnamed file in ``scratch``. Raises PermanentFailure
    where it cannot be decoded truthfully or changed so, TemporaryFailure where it cannot be read.
    """
    source = open_source(path, scratch)
    photometric = source.values.text(PHOTOMETRIC)
    if target not in NATIVE and not tags:
        return Outlook(photometric)
    plan = make_plan(source, target, rendition, tags)
    pixels = plan.pixels
    if pixels is None:
        return Outlook(photometric, size=plan.size)
    backend, form = backends_for(pixels, 0)[0], pixels.form
    found = Outlook(pixels.photometric, backend.name, plan.size, lossy=form.lossy)
    if (stored := pixels.changes.get(STORED)) is not None:
        found = replace(found, bits=str(int.from_bytes(stored.value, "little")))
    if form.coding is Coding.NATIVE:
        return found
    seconds = tuple(described(each, form) for each in others(backend, form))
    return replace(found, first=described(backend, form), seconds=seconds)


def of_header(stored: UID, photometric: str, target: UID, rendition: Rendition) -> Outlook:
    """The outlook for an instance of which the header is known: its codestream is taken to say
    what the header says.
    """
    syntax, to_rgb = BY_UID.get(stored), rendition.color == RGB
    if target not in NATIVE or syntax is None or (target == stored and rendition == Rendition()):
        return Outlook(photometric)
    decoder = None if syntax.encapsulated else ""
    if photometric in ("", *NO_COLOR):
        return Outlook(photometric, decoder)
    if photometric == "PALETTE COLOR" or not syntax.encapsulated:
        return Outlook(RGB if to_rgb else photometric, decoder)
    found = [
        decide_colour(photometric, declared, rendition.color).photometric
        for declared in _declarations(syntax.name)
    ]
    certain = len(set(found)) == 1 and stored != ENCAPSULATED_UNCOMPRESSED
    return Outlook(found[0], decoder, certain=certain)


def _declarations(name: str) -> Iterator[Codestream | None]:
    """What codestreams of three components may say of their colours; first: nothing."""
    coding = next((coding for start, coding in _CODINGS if name.startswith(start)), None)
    if coding is None:
        yield None
        return
    silent = Codestream(coding, "", rows=0, columns=0, components=3, precision=8)
    yield silent
    yield silent._replace(transform=True)
    yield silent._replace(adobe=0)
    yield silent._replace(ids=RGB_IDS)
    yield silent._replace(jfif=True)
