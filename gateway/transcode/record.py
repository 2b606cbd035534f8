"""What is found out while an instance is transcoded, beside the result: digests and stderr.

Digests are SHA-256 of bytes that stand in files, without the pad byte of Pixel Data: of what is
stored, which of encapsulated frames is fragment after fragment without item heads and offset
table, so that it does not depend on how a sender cut them, and of native ones the value in its
own byte order; and of the native value as it goes out, which is what others compute of
``PixelData``. (The bytes of a deflated data set are those that it was deflated from.)
"""

import errno
import hashlib
import os
import select
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final

from gateway.dataset.mapped import let_go, read_through
from gateway.transcode.form import Backend, Coding, FrameFormat
from gateway.transcode.frames import Frame, Span
from gateway.transcode.matrix import Matrix, proven
from gateway.transcode.outcome import FAILED, NOT_OFFERED, PROVEN
from gateway.transcode.probes import cell_of

MOST_STDERR: Final = 4096
"""Bytes of native libraries' stderr that are kept per task; the pipe holds no more."""
_PIECE: Final = 256 << 10
_ESCAPED: Final = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160))}
_ESCAPED[ord("\n")] = " | "


@dataclass(slots=True)
class Digests:
    """Two running sums: of the stored frames and of what is made of them."""

    _stored: Any = field(default_factory=hashlib.sha256)
    _native: Any = field(default_factory=hashlib.sha256)

    def store(self, data: Any, frames: Iterable[Frame]) -> None:
        """Add stored frames, spans of ``data``."""
        view, held = memoryview(data), 0
        for frame in frames:
            for offset, length in frame:
                self._stored.update(view[offset : offset + length])
                held = let_go(data, held, offset + length)

    def store_value(self, value: memoryview) -> None:
        """Add a native value as it is stored."""
        for piece in read_through(value):
            self._stored.update(piece)

    def native(self, part: Any) -> None:
        """Add bytes that go out."""
        self._native.update(part)

    @property
    def sums(self) -> tuple[str, str]:
        """Of what was stored and of what goes out, in hexadecimal."""
        return self._stored.hexdigest(), self._native.hexdigest()


def digest_of_file(descriptor: int, runs: Iterable[Span]) -> str:
    """The SHA-256 of these bytes of a file. Raises OSError, also where they are not all there."""
    found, buffer = hashlib.sha256(), memoryview(bytearray(_PIECE))
    for start, length in runs:
        done = 0
        while done < length:
            count = os.preadv(descriptor, [buffer[: length - done]], start + done)
            if not count:
                raise OSError(errno.ENODATA, "it is cut short")
            found.update(buffer[:count])
            done += count
    return found.hexdigest()


def standing(backend: Backend, form: FrameFormat) -> str:
    """What the self-test said of this decoder for such frames."""
    return "" if form.coding is Coding.NATIVE else _standing(proven(), backend.name, form)


@lru_cache(maxsize=256)
def _standing(matrix: Matrix, name: str, form: FrameFormat) -> str:
    """Looked up once for a form, since objects come in series."""
    tried = [one for one in matrix.tried(form, name) if one.state != NOT_OFFERED]
    if not tried:
        return "not proven: there is no test picture of this kind"
    failed = [one for one in tried if one.state == FAILED]
    if failed:
        return f"failed: {failed[0].why}"
    error = max(one.error for one in tried)
    deeper = "" if tried[0].cell == cell_of(form) else " by a deeper test picture"
    return f"{PROVEN}{deeper}" + (f", within {error} of the reference" if error else "")


class Stderr:
    """What native code prints in this process: a pipe instead of descriptor 2.

    The pipe never blocks and holds ``MOST_STDERR`` bytes: what is more is lost.
    """

    def __init__(self) -> None:
        """Take descriptor 2 over, for the life of the process."""
        reading, writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        with suppress(OSError, AttributeError):
            import fcntl

            fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, MOST_STDERR)
        os.dup2(writing, 2)
        os.close(writing)
        self._reading = reading
        self._printed = select.poll()
        self._printed.register(reading, select.POLLIN)

    def take(self) -> str:
        """What was printed since the last call, control characters escaped, "" for nothing."""
        if not self._printed.poll(0):
            return ""
        return readable(os.read(self._reading, 1 << 16))[:MOST_STDERR]


def readable(raw: bytes) -> str:
    """Foreign bytes as one line of text that a terminal may be given."""
    return raw.decode("utf-8", "replace").strip().translate(_ESCAPED)


def distinct(texts: Sequence[str]) -> str:
    """What several tasks printed, each text once, within the limit of one."""
    return " | ".join(dict.fromkeys(text for text in texts if text))[:MOST_STDERR]
