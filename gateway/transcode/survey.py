"""The matrix for people: by transfer syntax and decoder, what is proven, fails, or is missing."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from gateway.model import UID
from gateway.transcode.decoders import BACKENDS, ROWS, candidates
from gateway.transcode.form import Backend
from gateway.transcode.matrix import Matrix
from gateway.transcode.outcome import FAILED, NOT_OFFERED, PROVEN, Outcome
from gateway.transcode.probes import all_probes
from gateway.transfer_syntax import BY_UID, KNOWN

COLUMNS: Final = ("numpy", "imagecodecs", "pyjpegls", "gdcm", "pillow", "pylibjpeg")
MISSING: Final = "missing"
PARTLY: Final = "partly"
NOTHING: Final = ""

_NO_DECODER: Final = "no decoder of a permissive licence: sent as stored where accepted, else held"

_4: Final = "1.2.840.10008.1.2.4."
_FIRST: Final = (
    "1.2.840.10008.1.2",
    "1.2.840.10008.1.2.1",
    "1.2.840.10008.1.2.2",
    "1.2.840.10008.1.2.1.99",
    "1.2.840.10008.1.2.5",
    *(_4 + number for number in ("50", "51", "57", "70", "80", "81", "90", "91", "92", "93")),
    *(_4 + number for number in ("201", "202", "203", "110", "111", "112")),
    "1.2.840.10008.1.2.8.1",
    "1.2.840.10008.1.2.1.98",
)


@dataclass(frozen=True, slots=True)
class Square:
    """One transfer syntax with one decoder.

    ``proven`` of ``tried`` test pictures came out right; ``why`` says what failed, or how to get
    what is missing; ``speed`` in millions of samples per second, 0 where none was measured;
    ``left_out`` are the pictures that the decoder does not offer to decode.
    """

    backend: str
    state: str
    proven: int = 0
    tried: int = 0
    why: str = ""
    speed: float = 0.0
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Row:
    """One transfer syntax. ``serves`` names the decoders that come first, the most used before
    the others; ``note`` stands where no decoder is asked.
    """

    uid: UID
    title: str
    squares: tuple[Square, ...]
    serves: tuple[str, ...]
    note: str = ""


def survey(matrix: Matrix) -> list[Row]:
    """A row for every transfer syntax that the gateway knows."""
    order = [*_FIRST, *(one.uid for one in KNOWN if one.uid not in _FIRST)]
    return [_row(uid, matrix) for uid in order]


def _row(uid: UID, matrix: Matrix) -> Row:
    syntax = BY_UID[uid]
    outcomes = [one for one in matrix.outcomes if one.syntax == uid]
    if syntax.video:
        return Row(uid, syntax.title, (), (), "video: passed on as stored, never decoded")
    if not outcomes:
        return Row(uid, syntax.title, (), (), _NO_DECODER)
    backends = {one.name: one for one in BACKENDS}
    squares = tuple(_square(backends[name], uid, outcomes) for name in COLUMNS)
    return Row(uid, syntax.title, squares, _serves(uid))


def _serves(uid: UID) -> tuple[str, ...]:
    found = [candidates(probe.form) for probe in all_probes() if probe.syntax == uid]
    count = Counter(one[0].name for one in found if one)
    return tuple(name for name, _ in count.most_common()) or ("numpy",)


def _square(backend: Backend, uid: UID, outcomes: Sequence[Outcome]) -> Square:
    mine = [one for one in outcomes if one.backend == backend.name]
    registered = any(
        backend in ROWS[probe.coding] for probe in all_probes() if probe.syntax == uid
    )
    if not backend.version() and registered:
        return Square(backend.name, MISSING, why=f"pip install '{backend.requires}'")
    offered = [one for one in mine if one.state != NOT_OFFERED]
    if not offered:
        return Square(backend.name, NOTHING)
    failed = [one for one in offered if one.state == FAILED]
    right = len(offered) - len(failed)
    times = [one.seconds / one.samples for one in offered if one.seconds and one.timed]
    return Square(
        backend.name,
        PROVEN if not failed else PARTLY if right else FAILED,
        right,
        len(mine),
        "; ".join(f"{one.what}: {one.why}" for one in failed[:1]),
        1e-6 / min(times) if times else 0.0,
        tuple(one.what for one in mine if one.state == NOT_OFFERED),
    )


def markdown(rows: Sequence[Row]) -> str:
    """The table without what varies from machine to machine: no speeds, no order."""
    heads = ["transfer syntax", "UID", *COLUMNS]
    lines = [_line(heads), _line(["---"] * len(heads))]
    for row in rows:
        squares = [_cell(one) for one in row.squares] or [row.note, *[""] * (len(COLUMNS) - 1)]
        lines.append(_line([row.title, row.uid, *squares]))
    return "\n".join(lines) + "\n"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _cell(one: Square) -> str:
    if one.state == MISSING:
        return one.why
    if one.state == NOTHING:
        return ""
    text = f"{one.proven} of {one.tried}"
    failed = one.tried - one.proven - len(one.left_out)
    return text + (f", {failed} fail" if failed else "")
