"""Text that is sent as a stream, compressed where the client takes that (RFC 9110 §8.4, §12.5.3).

Each piece is flushed, so that compressing does not hold an answer back.
"""

import sys
import zlib
from typing import Final, Protocol

from aiohttp import web

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_LEVELS: Final = {"zstd": 1, "gzip": 3}
_GZIP: Final = 31
"""zlib's window bits for the format of gzip (RFC 1952)."""


class _Compressor(Protocol):
    def piece(self, data: bytes) -> bytes: ...

    def end(self) -> bytes: ...


class TextStream(web.StreamResponse):
    """An answer of text to ``request``; what is written goes out in the coding it likes best."""

    def __init__(self, request: web.Request, headers: dict[str, str]) -> None:
        super().__init__(headers=headers)
        self._coding = coding_of(request.headers.get("Accept-Encoding", ""))
        self._compressor: _Compressor | None = None
        vary = [text for text in (self.headers.get("Vary"), "Accept-Encoding") if text]
        self.headers["Vary"] = ", ".join(vary)
        if self._coding and request.method != "HEAD":
            self._compressor = _Zstd() if self._coding == "zstd" else _Gzip()
            self.headers["Content-Encoding"] = self._coding
            if (tag := self.headers.get("ETag", "")).startswith('"'):
                self.headers["ETag"] = f"W/{tag}"  # the same content in other bytes

    async def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send the next piece."""
        piece = bytes(data) if self._compressor is None else self._compressor.piece(bytes(data))
        if piece:
            await super().write(piece)

    async def write_eof(self, data: bytes = b"") -> None:
        """End the answer."""
        if self._compressor is not None:
            data = (self._compressor.piece(data) if data else b"") + self._compressor.end()
            self._compressor = None
        await super().write_eof(data)


class _Zstd:
    def __init__(self) -> None:
        self._compressor = zstd.ZstdCompressor(level=_LEVELS["zstd"])

    def piece(self, data: bytes) -> bytes:
        return self._compressor.compress(data, self._compressor.FLUSH_BLOCK)

    def end(self) -> bytes:
        return self._compressor.flush()


class _Gzip:
    def __init__(self) -> None:
        self._compressor = zlib.compressobj(_LEVELS["gzip"], zlib.DEFLATED, _GZIP)

    def piece(self, data: bytes) -> bytes:
        return self._compressor.compress(data) + self._compressor.flush(zlib.Z_SYNC_FLUSH)

    def end(self) -> bytes:
        return self._compressor.flush()


def coding_of(accepted: str) -> str:
    """The best of zstd and gzip that an Accept-Encoding header allows, "" where it names none."""
    said: dict[str, float] = {}
    for piece in accepted.lower().split(","):
        name, _, parameters = piece.partition(";")
        said[name.strip()] = _quality(parameters)
    wanted = {name: said.get(name, said.get("*", 0.0)) for name in _LEVELS}
    best = max(wanted, key=lambda name: wanted[name])
    return best if wanted[best] > 0 else ""


def _quality(parameters: str) -> float:
    name, _, value = parameters.strip().partition("=")
    if name.strip() != "q":
        return 1.0
    try:
        return float(value)
    except ValueError:
        return 0.0
