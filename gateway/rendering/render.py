"""What a worker does for a rendered resource: frames of one stored object into a picture file."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from PIL import Image

from gateway.failures import PermanentFailure
from gateway.rendering.attributes import Attributes
from gateway.rendering.display import frame_milliseconds, icc_profile
from gateway.rendering.encode import GIF, with_profile, write_animation, write_picture
from gateway.rendering.geometry import placed
from gateway.rendering.picture import Camera
from gateway.rendering.refusals import NoSuchFrame, WrongParameter
from gateway.rendering.samples import Frames, open_frames
from gateway.rendering.view import View
from gateway.transcode.limits import allow
from gateway.transcode.output import written

MOST_ANIMATED: Final = 1 << 29
"""Pixels of all frames of an animated GIF."""
_UNKNOWN: Final = 64 << 20
_REPRESENTATIVE: Final = 0x00286010


@dataclass(frozen=True, slots=True)
class Task:
    """A picture that is wanted of the Part 10 file ``source``.

    ``frames`` are numbers from 1; none stands for the representative frame, or, where
    ``animated``, for all of them. Several make an animated GIF.
    """

    source: Path
    media_type: str
    view: View
    frames: tuple[int, ...] = ()
    animated: bool = False


def render(task: Task, out: Path) -> None:
    """Make the picture and write it to ``out``, whole or not at all. Runs in a worker.

    Raises Undecoded where the object is to be transcoded first; WrongParameter, NothingToShow
    and NoSuchFrame; PermanentFailure where pixels cannot be read, TemporaryFailure where the
    file cannot be written.
    """
    allow(_UNKNOWN)
    wanted = 0 if task.animated and not task.frames else max(1, len(task.frames))
    frames = open_frames(task.source, out.parent, wanted)
    with written(out) as descriptor, os.fdopen(os.dup(descriptor), "w+b") as file:
        try:
            _make(task, frames, file)
        except MemoryError:
            text = "a picture of this object takes more memory than a worker has"
            raise PermanentFailure(text) from None


def _make(task: Task, frames: Frames, file: BinaryIO) -> None:
    source = frames.source
    signed = bool(frames.header.representation)
    attributes = Attributes(source.data, source.start, source.end, source.syntax, signed=signed)
    numbers = _numbers(task, frames, attributes)
    header = frames.header
    allow(8 * len(numbers) * header.rows * header.columns * header.samples + _UNKNOWN)
    camera = Camera(frames, attributes, task.view, numbers)
    if task.media_type == GIF and (task.animated or len(numbers) > 1):
        _animate(task, frames, attributes, camera, numbers, file)
        return
    image, profile = with_profile(
        camera.picture(numbers[0]), task.view.icc, icc_profile(attributes), task.media_type
    )
    write_picture(file, image, task.media_type, task.view.quality, profile)


def _numbers(task: Task, frames: Frames, attributes: Attributes) -> Sequence[int]:
    """The frames, from 0, that the task names. Raises NoSuchFrame."""
    if task.animated and not task.frames:
        return range(frames.count)
    if not task.frames:
        first = int(attributes.number(_REPRESENTATIVE) or 1)
        return (first - 1 if 1 <= first <= frames.count else 0,)
    for number in task.frames:
        if not 1 <= number <= frames.count:
            raise NoSuchFrame(f"frame {number} was asked for; the object has {frames.count}")
    return tuple(number - 1 for number in task.frames)


def _animate(
    task: Task,
    frames: Frames,
    attributes: Attributes,
    camera: Camera,
    numbers: Sequence[int],
    file: BinaryIO,
) -> None:
    header = frames.header
    place = placed(header.rows, header.columns, 1.0, task.view)
    pixels = place.width * place.height * len(numbers)
    if pixels > MOST_ANIMATED:
        raise WrongParameter(
            f"parameter viewport: {len(numbers)} frames of {place.width} x {place.height} are "
            f"{pixels} pixels, and at most {MOST_ANIMATED} go into a GIF; ask for a smaller "
            "viewport or for fewer frames"
        )
    if task.view.icc != "no":
        with_profile(Image.new("L", (1, 1)), task.view.icc, None, task.media_type)
    write_animation(file, _pictures(camera, numbers), frame_milliseconds(attributes))


def _pictures(camera: Camera, numbers: Sequence[int]) -> Iterator[Image.Image]:
    return (camera.picture(number) for number in numbers)
