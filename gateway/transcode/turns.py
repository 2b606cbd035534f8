"""Which decoders are tried for an instance, and in which order."""

from collections.abc import Sequence
from typing import Final, Protocol

from gateway.failures import PermanentFailure
from gateway.transcode.decoders import ROWS, candidates
from gateway.transcode.form import Backend, Coding, FrameFormat
from gateway.transcode.matrix import Matrix, proven

_MOST_KEPT: Final = 256
_kept: Final[dict[FrameFormat, tuple[tuple[Backend, ...], Matrix, list[Backend]]]] = {}


class _OfForm(Protocol):
    @property
    def form(self) -> FrameFormat: ...


def backends_for(pixels: _OfForm, attempt: int, skip: int = 0) -> Sequence[Backend]:
    """The decoders from the ``attempt``-th on, the first ``skip`` of them put last.

    Raises PermanentFailure where none is left.
    """
    found = in_turn(_ordered(pixels.form), skip)[attempt:]
    if not found:
        raise PermanentFailure(
            f"no {'other ' if attempt else ''}decoder for {pixels.form.coding.value} of "
            f"{pixels.form.precision} bits, {pixels.form.samples_per_pixel} samples per pixel"
        )
    return found


def _ordered(form: FrameFormat) -> list[Backend]:
    """The decoders for ``form``, best first: looked up once, since objects come in series."""
    if form.coding is Coding.NATIVE:
        return candidates(form)  # which needs no self-test
    row, matrix = ROWS[form.coding], proven()
    kept = _kept.get(form)
    if kept is None or kept[0] is not row or kept[1] is not matrix:
        if len(_kept) >= _MOST_KEPT:
            _kept.clear()
        kept = _kept[form] = (row, matrix, candidates(form))
    return kept[2]


def in_turn(found: list[Backend], skip: int) -> list[Backend]:
    """The decoders with the first ``skip`` of them put last; a lone one is first again."""
    first = skip % len(found) if found else 0
    return found[first:] + found[:first]
