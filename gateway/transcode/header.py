"""How an instance's header reads once its pixels are uncompressed, told without decoding them."""

from typing import Final

from gateway.dataset.elements import UNDEFINED
from gateway.failures import PermanentFailure
from gateway.model import Rendition
from gateway.transcode.image_pixel import Changes
from gateway.transcode.plan import plan_frames
from gateway.transcode.source import Source
from gateway.transfer_syntax import BY_UID, EXPLICIT_LE

_TARGET: Final = BY_UID[EXPLICIT_LE]
_AS_ENCODED: Final = Rendition()


def uncompressed_header(source: Source) -> tuple[Changes, str]:
    """(the attributes that change, the VR of Pixel Data) when ``source`` is uncompressed.

    The same as ``instance.transcode`` writes to Explicit VR Little Endian. The VR is "" where
    Pixel Data stays as it is. Raises PermanentFailure where the instance cannot be uncompressed.
    """
    pixels, stored = source.pixels, BY_UID.get(source.meta.transfer_syntax)
    if pixels is None or not (pixels.length == UNDEFINED or (stored and stored.encapsulated)):
        return {}, ""
    if stored is None or stored.video:
        what = f"{stored.title} is video" if stored else "the transfer syntax is unknown"
        raise PermanentFailure(f"{what}: the instance can only be sent as stored")
    planned = plan_frames(source, _TARGET, _AS_ENCODED)
    return planned.changes, planned.vr
