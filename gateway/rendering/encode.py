"""Pictures as JPEG, PNG and GIF files, with an ICC profile where one is asked for.

An animated GIF is written frame by frame: no more than one picture is held.
"""

from collections.abc import Iterable
from io import BytesIO
from struct import pack
from typing import BinaryIO, Final

from PIL import GifImagePlugin, Image, ImageCms

from gateway.rendering.refusals import WrongParameter

JPEG: Final = "image/jpeg"
PNG: Final = "image/png"
GIF: Final = "image/gif"
MEDIA_TYPES: Final = (JPEG, PNG, GIF)
"""What pictures are made as, the default first (PS3.18 8.7.4)."""
_FULL_CHROMA: Final = 90
"""The quality from which on chroma is not subsampled."""
_PNG_EFFORT: Final = 4
_SHORTEST: Final = 20
"""Milliseconds for which browsers show a frame of a GIF at least."""


def write_picture(
    file: BinaryIO, image: Image.Image, media_type: str, quality: int, profile: bytes | None
) -> None:
    """Write one picture, with ``profile`` inside where there is one."""
    if media_type == GIF:
        write_animation(file, [image], 0)
    elif media_type == PNG:
        image.save(file, "PNG", compress_level=_PNG_EFFORT, icc_profile=profile)
    else:
        subsampling = 0 if quality >= _FULL_CHROMA else 2
        image.save(file, "JPEG", quality=quality, subsampling=subsampling, icc_profile=profile)


def with_profile(
    image: Image.Image, asked: str, own: bytes | None, media_type: str
) -> tuple[Image.Image, bytes | None]:
    """The picture and the profile that goes into its file (PS3.18 8.3.5.1.5).

    ``asked`` "yes": the object's own profile, sRGB where it has none; "srgb": the colours
    converted to it. Raises WrongParameter where that cannot be.
    """
    if asked == "no":
        return image, None
    if media_type == GIF:
        raise WrongParameter(
            f"parameter iccprofile: a GIF holds no ICC profile; ask for {JPEG} or {PNG}"
        )
    grey = image.mode == "L"
    image = image.convert("RGB") if grey else image
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
    if own is None or grey:
        return image, srgb.tobytes()
    if asked == "yes":
        return image, own
    try:
        source = ImageCms.ImageCmsProfile(BytesIO(own))
        converted = ImageCms.profileToProfile(image, source, srgb, outputMode="RGB")
    except (ImageCms.PyCMSError, OSError) as error:
        raise WrongParameter(
            "parameter iccprofile: the object's own ICC profile cannot be used to convert its "
            "colours; ask for yes or no"
        ) from error
    return converted or image, srgb.tobytes()


def write_animation(file: BinaryIO, images: Iterable[Image.Image], milliseconds: float) -> None:
    """Write a GIF that shows ``images``, all of one size, over and over; one alone if 0.

    Greys have one palette for all; each colour picture brings its own.
    """
    duration = round(max(milliseconds, _SHORTEST)) if milliseconds else 0
    for number, image in enumerate(images):
        if number == 0:
            file.write(_gif_head(image.width, image.height, animated=duration > 0))
        grey = image.mode == "L"
        shown = image if grey else image.quantize(256)
        pieces = GifImagePlugin.getdata(shown, duration=duration, include_color_table=not grey)
        file.writelines(pieces)
    file.write(b";")


def _gif_head(width: int, height: int, *, animated: bool) -> bytes:
    """Signature, screen, 256 greys, and that the pictures are repeated without end."""
    greys = bytes(level for level in range(256) for _ in range(3))
    loop = b"!\xff\x0bNETSCAPE2.0\x03\x01\0\0\0" if animated else b""
    return b"GIF89a" + pack("<HHBBB", width, height, 0xF7, 0, 0) + greys + loop
