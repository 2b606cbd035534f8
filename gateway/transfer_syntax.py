"""The transfer syntaxes the gateway knows, by UID and by short name (PS3.5 §10, Annex A)."""

from dataclasses import dataclass
from typing import Final

from gateway.model import UID


@dataclass(frozen=True, slots=True)
class TransferSyntax:
    """One transfer syntax.

    ``explicit`` and ``little_endian`` describe the data set's encoding; ``encapsulated`` that
    Pixel Data is a sequence of fragments; ``lossy`` that the codec may lose information;
    ``video`` that the fragments are one video stream, not frames.
    """

    uid: UID
    name: str
    title: str
    explicit: bool = True
    little_endian: bool = True
    deflated: bool = False
    encapsulated: bool = False
    lossy: bool = False
    video: bool = False

    @property
    def native(self) -> bool:
        """Pixel Data stands uncompressed in the data set (and the data set is not deflated)."""
        return not self.encapsulated and not self.deflated


IMPLICIT_LE: Final = "1.2.840.10008.1.2"
EXPLICIT_LE: Final = "1.2.840.10008.1.2.1"
DEFLATED: Final = "1.2.840.10008.1.2.1.99"
EXPLICIT_BE: Final = "1.2.840.10008.1.2.2"
RLE: Final = "1.2.840.10008.1.2.5"
JPEG_BASELINE: Final = "1.2.840.10008.1.2.4.50"
JPEG_EXTENDED: Final = "1.2.840.10008.1.2.4.51"
JPEG_LOSSLESS: Final = "1.2.840.10008.1.2.4.57"
JPEG_LOSSLESS_SV1: Final = "1.2.840.10008.1.2.4.70"
JPEG_LS: Final = "1.2.840.10008.1.2.4.80"
JPEG_LS_NEAR: Final = "1.2.840.10008.1.2.4.81"
J2K_LOSSLESS: Final = "1.2.840.10008.1.2.4.90"
J2K: Final = "1.2.840.10008.1.2.4.91"
J2K_PART2_LOSSLESS: Final = "1.2.840.10008.1.2.4.92"
J2K_PART2: Final = "1.2.840.10008.1.2.4.93"
HTJ2K_LOSSLESS: Final = "1.2.840.10008.1.2.4.201"
ENCAPSULATED_UNCOMPRESSED: Final = "1.2.840.10008.1.2.1.98"
DEFLATED_FRAMES: Final = "1.2.840.10008.1.2.8.1"


def _images(*rows: tuple[UID, str, str, bool]) -> tuple[TransferSyntax, ...]:
    return tuple(
        TransferSyntax(u, n, t, encapsulated=True, lossy=lossy) for u, n, t, lossy in rows
    )


def _videos(*rows: tuple[UID, str, str]) -> tuple[TransferSyntax, ...]:
    return tuple(
        TransferSyntax(u, n, t, encapsulated=True, lossy=True, video=True) for u, n, t in rows
    )


_4 = "1.2.840.10008.1.2.4."

_HIERARCHICAL: Final = (
    ("59", "16-18", "Extended, Process 16 and 18", True),
    ("60", "17-19", "Extended, Process 17 and 19", True),
    ("61", "20-22", "Spectral Selection, Process 20 and 22", True),
    ("62", "21-23", "Spectral Selection, Process 21 and 23", True),
    ("63", "24-26", "Progressive, Process 24 and 26", True),
    ("64", "25-27", "Progressive, Process 25 and 27", True),
    ("65", "28", "Lossless, Process 28", False),
    ("66", "29", "Lossless, Process 29", False),
)

KNOWN: Final[tuple[TransferSyntax, ...]] = (
    TransferSyntax(IMPLICIT_LE, "implicit-le", "Implicit VR Little Endian", explicit=False),
    TransferSyntax(EXPLICIT_LE, "explicit-le", "Explicit VR Little Endian"),
    TransferSyntax(EXPLICIT_BE, "explicit-be", "Explicit VR Big Endian", little_endian=False),
    TransferSyntax(DEFLATED, "deflated", "Deflated Explicit VR Little Endian", deflated=True),
    TransferSyntax(
        ENCAPSULATED_UNCOMPRESSED,
        "encapsulated-uncompressed",
        "Encapsulated Uncompressed Explicit VR Little Endian",
        encapsulated=True,
    ),
    *_images(
        (DEFLATED_FRAMES, "deflated-frames", "Deflated Image Frame Compression", False),
        (RLE, "rle", "RLE Lossless", False),
        (JPEG_BASELINE, "jpeg-baseline", "JPEG Baseline (Process 1)", True),
        (JPEG_EXTENDED, "jpeg-extended", "JPEG Extended (Process 2 and 4)", True),
        (JPEG_LOSSLESS, "jpeg-lossless", "JPEG Lossless (Process 14)", False),
        (JPEG_LOSSLESS_SV1, "jpeg-lossless-sv1", "JPEG Lossless SV1 (Process 14)", False),
        (JPEG_LS, "jpeg-ls", "JPEG-LS Lossless", False),
        (JPEG_LS_NEAR, "jpeg-ls-near", "JPEG-LS Near-Lossless", True),
        (J2K_LOSSLESS, "j2k-lossless", "JPEG 2000 Lossless", False),
        (J2K, "j2k", "JPEG 2000", True),
        (
            J2K_PART2_LOSSLESS,
            "j2k-part2-lossless",
            "JPEG 2000 Part 2 Multi-component Lossless",
            False,
        ),
        (J2K_PART2, "j2k-part2", "JPEG 2000 Part 2 Multi-component", True),
        (_4 + "201", "htj2k-lossless", "High-Throughput JPEG 2000 Lossless", False),
        (_4 + "202", "htj2k-rpcl", "High-Throughput JPEG 2000 Lossless RPCL", False),
        (_4 + "203", "htj2k", "High-Throughput JPEG 2000", True),
        (_4 + "110", "jpeg-xl-lossless", "JPEG XL Lossless", False),
        (_4 + "111", "jpeg-xl-recompression", "JPEG XL JPEG Recompression", True),
        (_4 + "112", "jpeg-xl", "JPEG XL", True),
        (_4 + "52", "jpeg-extended-3-5", "JPEG Extended (Process 3 and 5), retired", True),
        (
            _4 + "53",
            "jpeg-spectral-6-8",
            "JPEG Spectral Selection (Process 6 and 8), retired",
            True,
        ),
        (
            _4 + "54",
            "jpeg-spectral-7-9",
            "JPEG Spectral Selection (Process 7 and 9), retired",
            True,
        ),
        (
            _4 + "55",
            "jpeg-progressive-10-12",
            "JPEG Progressive (Process 10 and 12), retired",
            True,
        ),
        (
            _4 + "56",
            "jpeg-progressive-11-13",
            "JPEG Progressive (Process 11 and 13), retired",
            True,
        ),
        (_4 + "58", "jpeg-lossless-15", "JPEG Lossless (Process 15), retired", False),
        *(
            (_4 + n, f"jpeg-hierarchical-{p}", f"JPEG Hierarchical ({t}), retired", lossy)
            for n, p, t, lossy in _HIERARCHICAL
        ),
    ),
    *_videos(
        (_4 + "100", "mpeg2-main", "MPEG2 Main Profile / Main Level"),
        (_4 + "100.1", "mpeg2-main-fragmentable", "Fragmentable MPEG2 Main / Main"),
        (_4 + "101", "mpeg2-high", "MPEG2 Main Profile / High Level"),
        (_4 + "101.1", "mpeg2-high-fragmentable", "Fragmentable MPEG2 Main / High"),
        (_4 + "102", "mpeg4-high", "MPEG-4 AVC/H.264 High Profile / Level 4.1"),
        (_4 + "102.1", "mpeg4-high-fragmentable", "Fragmentable MPEG-4 High / Level 4.1"),
        (_4 + "103", "mpeg4-bd", "MPEG-4 AVC/H.264 BD-compatible"),
        (_4 + "103.1", "mpeg4-bd-fragmentable", "Fragmentable MPEG-4 BD-compatible"),
        (_4 + "104", "mpeg4-2d", "MPEG-4 AVC/H.264 High Profile / Level 4.2 for 2D"),
        (_4 + "104.1", "mpeg4-2d-fragmentable", "Fragmentable MPEG-4 High / Level 4.2 2D"),
        (_4 + "105", "mpeg4-3d", "MPEG-4 AVC/H.264 High Profile / Level 4.2 for 3D"),
        (_4 + "105.1", "mpeg4-3d-fragmentable", "Fragmentable MPEG-4 High / Level 4.2 3D"),
        (_4 + "106", "mpeg4-stereo", "MPEG-4 AVC/H.264 Stereo High Profile / Level 4.2"),
        (_4 + "106.1", "mpeg4-stereo-fragmentable", "Fragmentable MPEG-4 Stereo High"),
        (_4 + "107", "hevc-main", "HEVC/H.265 Main Profile / Level 5.1"),
        (_4 + "108", "hevc-main-10", "HEVC/H.265 Main 10 Profile / Level 5.1"),
    ),
)

BY_UID: Final = {syntax.uid: syntax for syntax in KNOWN}
BY_NAME: Final = {syntax.name: syntax for syntax in KNOWN}

NATIVE: Final = (EXPLICIT_LE, IMPLICIT_LE, EXPLICIT_BE)
"""The uncompressed transfer syntaxes, the targets of decompression, best first."""


def name_of(uid: UID) -> str:
    """The short name of a transfer syntax, or the UID itself where it is unknown."""
    return BY_UID[uid].name if uid in BY_UID else uid
