"""imagecodecs' two small decoders of JPEG Lossless (process 14): jpegsof3 and liblj92.

Neither descends from libjpeg, which makes them witnesses for what libjpeg-turbo and GDCM decode.
"""

from dataclasses import dataclass
from functools import cache
from importlib import metadata
from typing import TYPE_CHECKING, Any, Final

from gateway.transcode.form import Coding, FrameFormat

if TYPE_CHECKING:
    from gateway.transcode.form import Samples


@dataclass(slots=True)
class _Decoder:
    """One of them, as a ``form.Backend``."""

    name: str
    function: str
    requires: str = "imagecodecs>=2025.3.30"

    def version(self) -> str:
        """The version of imagecodecs, "" where it is not installed."""
        return _version()

    def supports(self, form: FrameFormat) -> bool:
        """JPEG Lossless of one component or three, all bits, in one piece.

        Neither undoes a point transform; restart markers are garbage to the one, refused by the
        other.
        """
        if form.coding is not Coding.JPEG_LOSSLESS or form.samples_per_pixel not in (1, 3):
            return False
        return not form.lossy and not form.restarts

    def decode(self, frame: Any, form: FrameFormat) -> "Samples":
        """The samples of one codestream."""
        import imagecodecs

        samples: Samples = getattr(imagecodecs, self.function)(frame)
        return samples


@cache
def _version() -> str:
    try:
        return metadata.version("imagecodecs")
    except metadata.PackageNotFoundError:
        return ""


JPEGSOF3: Final = _Decoder("jpegsof3", "jpegsof3_decode")
LIBLJ92: Final = _Decoder("liblj92", "ljpeg_decode")
