"""Parts, sizes, flips, square pixels, annotations, and what files pictures become."""

from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms

from gateway.rendering.attributes import Attributes
from gateway.rendering.geometry import Placement, placed
from gateway.rendering.parameters import rendered_view
from gateway.rendering.picture import Camera
from gateway.rendering.refusals import NoSuchFrame, WrongParameter
from gateway.rendering.samples import open_frames
from gateway.rendering.view import Region, View
from tests.rendering.pictures import colour_file, grey_file, item, rendered, shown

CHESS = np.arange(64, dtype=np.uint8).reshape(8, 8) * 4
PLAIN = np.full((128, 160), 100, np.uint8)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "object.dcm"


@pytest.mark.parametrize(
    ("aspect", "view", "placement"),
    [
        (1.0, View(), Placement(0, 0, 60, 40, 60, 40)),
        (2.0, View(), Placement(0, 0, 60, 40, 60, 80)),
        (0.5, View(), Placement(0, 0, 60, 40, 120, 40)),
        (1.0, View(viewport=(30, 30)), Placement(0, 0, 60, 40, 30, 20)),
        (1.0, View(viewport=(600, 30)), Placement(0, 0, 60, 40, 45, 30)),
        (1.0, View(viewport=(0, 80)), Placement(0, 0, 60, 40, 120, 80)),
        (1.0, View(viewport=(240, 0)), Placement(0, 0, 60, 40, 240, 160)),
        (2.0, View(viewport=(30, 30)), Placement(0, 0, 60, 40, 22, 30)),
        (1.0, View(viewport=(600, 600), enlarge=False), Placement(0, 0, 60, 40, 60, 40)),
        (1.0, View(viewport=(1, 1)), Placement(0, 0, 60, 40, 1, 1)),
        (1.0, View(region=Region(10, 5, 20, 10)), Placement(10, 5, 30, 15, 20, 10)),
        (1.0, View(region=Region(50, 30, 99, 99)), Placement(50, 30, 60, 40, 10, 10)),
        (1.0, View(region=Region(10, 5)), Placement(10, 5, 60, 40, 50, 35)),
        (1.0, View(region=Region(0.5, 0.5, 0.5, 0.25, True)), Placement(30, 20, 60, 30, 30, 10)),
        (1.0, View(region=Region(0.999, 0, 0.001, 1, True)), Placement(59, 0, 60, 40, 1, 40)),
    ],
)
def test_the_viewport_is_filled_without_distortion(
    aspect: float, view: View, placement: Placement
) -> None:
    assert placed(40, 60, aspect, view) == placement


@pytest.mark.parametrize("region", [Region(60, 0), Region(0, 40), Region(5, 5, 0.1, 9)])
def test_a_region_with_no_pixel_is_refused(region: Region) -> None:
    with pytest.raises(WrongParameter, match="outside the picture of 60 x 40"):
        placed(40, 60, 1.0, View(region=region))


def test_a_picture_too_large_is_refused_with_the_limit() -> None:
    with pytest.raises(WrongParameter, match="viewport"):
        placed(40_000, 40_000, 1.0, View())
    with pytest.raises(WrongParameter, match="65500 along a side"):
        placed(65_535, 1, 1.0, View())
    assert placed(40_000, 40_000, 1.0, View(viewport=(256, 256))).reduction == 78


def test_a_region_is_cut_out_and_flipped(path: Path) -> None:
    file = grey_file(path, CHESS)
    part = CHESS[2:6, 1:4]
    assert (shown(file, View(region=Region(1, 2, 3, 4))) == part).all()
    for text, flipped in (
        ("3,4,1,2,-3,4", part[:, ::-1]),
        ("3,4,1,2,3,-4", part[::-1]),
        ("3,4,1,2,-3,-4", part[::-1, ::-1]),
    ):
        assert (shown(file, rendered_view({"viewport": text})) == flipped).all()


def test_a_smaller_picture_is_averaged_and_a_larger_one_smooth(path: Path) -> None:
    stripes = np.tile(np.array([0, 200], np.uint8), (600, 300))
    small = shown(grey_file(path, stripes), View(viewport=(50, 50)))
    assert small.shape == (50, 50)
    assert np.abs(small.astype(int) - 100).max() <= 3
    large = shown(grey_file(path, PLAIN), View(viewport=(640, 640)))
    assert large.shape == (512, 640)
    assert (large == 100).all()


@pytest.mark.parametrize(
    ("attributes", "size"),
    [
        ({"PixelSpacing": [2, 1]}, (8, 16)),
        ({"PixelAspectRatio": [1, 2]}, (16, 8)),
        ({"ImagerPixelSpacing": ["0.3", "0.1"]}, (8, 24)),
        ({"PixelSpacing": [1, 1], "PixelAspectRatio": [1, 2]}, (8, 8)),
        ({"PixelSpacing": ["1", "1.001"]}, (8, 8)),
        ({"PixelAspectRatio": [0, 1]}, (8, 8)),
        ({"PixelAspectRatio": [1000, 1]}, (8, 8)),
    ],
)
def test_pixels_are_square_on_display(
    path: Path, attributes: dict[str, Any], size: tuple[int, int]
) -> None:
    picture = shown(grey_file(path, CHESS, **attributes))
    assert (picture.shape[1], picture.shape[0]) == size


def test_the_spacing_of_functional_groups_counts(path: Path) -> None:
    measures = item(PixelMeasuresSequence=[item(PixelSpacing=[1, 2])])
    file = grey_file(path, CHESS, SharedFunctionalGroupsSequence=[measures])
    assert shown(file).shape == (8, 16)


def test_the_representative_frame_is_shown(path: Path) -> None:
    frames = np.stack([CHESS, CHESS[::-1], CHESS.T])
    assert (shown(grey_file(path, frames)) == frames[0]).all()
    assert (shown(grey_file(path, frames, RepresentativeFrameNumber=3)) == frames[2]).all()
    assert (shown(grey_file(path, frames, RepresentativeFrameNumber=9)) == frames[0]).all()


def test_a_frame_beyond_the_last_is_refused(path: Path) -> None:
    with pytest.raises(NoSuchFrame, match="frame 4 was asked for; the object has 3"):
        shown(grey_file(path, np.stack([CHESS] * 3)), View(), 4)


def test_annotations_are_burnt_in_at_the_left(path: Path) -> None:
    file = grey_file(path, PLAIN, PatientName="Doe^Jane", KVP="120", Modality="CT")
    bare = shown(file)
    both = shown(file, View(annotations=("patient", "technique")))
    patient = shown(file, View(annotations=("patient",)))
    assert (bare == 100).all()
    assert (patient[:40] > 200).any()
    assert (patient[64:] == 100).all()
    assert (both[64:] > 200).any()
    assert (both[:40] == patient[:40]).all()
    assert (both[:, 100:] == 100).all()


@pytest.mark.parametrize(
    "attributes",
    [{"PatientName": "X" * 60}, {"SpecificCharacterSet": "ISO_IR 192", "PatientName": "山田"}],
)
def test_annotations_that_cannot_be_legible_are_refused(
    path: Path, attributes: dict[str, Any]
) -> None:
    with pytest.raises(WrongParameter, match="parameter annotation"):
        shown(grey_file(path, PLAIN, **attributes), View(annotations=("patient",)))


def test_a_name_in_latin_letters_is_written_in_its_own_character_set(path: Path) -> None:
    greys = [
        shown(
            grey_file(path, PLAIN, SpecificCharacterSet="ISO_IR 192", PatientName=name),
            View(annotations=("patient",)),
        )
        for name in ("Müller^Jörg", "M?ller^J?rg")
    ]
    assert (greys[0] != greys[1]).any()


def test_a_lossless_jpeg_quality_is_near_the_truth(path: Path) -> None:
    out = rendered(grey_file(path, CHESS), View(quality=100), media_type="image/jpeg")
    with Image.open(out) as image:
        assert (image.format, image.mode) == ("JPEG", "L")
        assert np.abs(np.asarray(image).astype(int) - CHESS).max() <= 2


def test_a_colour_gif_moves(path: Path) -> None:
    reds = np.zeros((6, 8, 3), np.uint8)
    reds[..., 0] = 255
    two = np.concatenate([reds, reds[..., ::-1]])
    file = colour_file(path, two, Rows=6, NumberOfFrames=2, CineRate="20")
    out = rendered(file, media_type="image/gif", animated=True)
    with Image.open(out) as image:
        assert (image.n_frames, image.info["duration"]) == (2, 50)
        frames = []
        for number in range(2):
            image.seek(number)
            frames.append(np.asarray(image.convert("RGB"))[0, 0].tolist())
    assert frames == [[255, 0, 0], [0, 0, 255]]


def test_frames_of_a_moving_picture_are_read_twice_and_no_more(path: Path) -> None:
    """Once for their range, once for their pixels."""
    samples = np.arange(20 * 12, dtype=np.uint16).reshape(20, 3, 4)
    frames = open_frames(grey_file(path, samples), path.parent, 0)
    read: list[int] = []

    def counted(number: int) -> Any:
        read.append(number)
        return frames.frame(number)

    source = frames.source
    attributes = Attributes(source.data, source.start, source.end, source.syntax)
    camera = Camera(replace(frames, frame=counted), attributes, View(), range(20))
    shades = [np.asarray(camera.picture(number)) for number in range(20)]
    assert len(read) <= 40
    assert (np.stack(shades) == np.rint(samples / 239 * 255)).all()


def test_too_many_frames_for_a_gif_are_refused_with_advice(path: Path) -> None:
    file = grey_file(path, np.stack([CHESS] * 40))
    with pytest.raises(WrongParameter, match="ask for a smaller viewport"):
        rendered(file, View(viewport=(8000, 8000)), media_type="image/gif", animated=True)


def _own_profile() -> bytes:
    """sRGB with red and blue exchanged, of an even length."""
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exchanged = srgb.replace(b"rXYZ", b"----", 1).replace(b"bXYZ", b"rXYZ", 1)
    exchanged = exchanged.replace(b"----", b"bXYZ", 1)
    return exchanged + b"\0" * (len(exchanged) & 1)


def _profile_of(file: Path) -> bytes | None:
    with Image.open(file) as image:
        return image.info.get("icc_profile")


def test_an_icc_profile_is_inside_only_where_asked_for(path: Path) -> None:
    own = _own_profile()
    colour = np.full((4, 4, 3), 90, np.uint8)
    file = colour_file(path, colour, ICCProfile=own)
    for media_type in ("image/png", "image/jpeg"):
        assert _profile_of(rendered(file, media_type=media_type)) is None
        assert _profile_of(rendered(file, View(icc="yes"), media_type=media_type)) == own
        srgb = _profile_of(rendered(file, View(icc="srgb"), media_type=media_type))
        assert "sRGB" in ImageCms.getProfileDescription(BytesIO(srgb or b""))
    with pytest.raises(WrongParameter, match="iccprofile"):
        rendered(file, View(icc="yes"), media_type="image/gif")


def test_colours_without_a_profile_and_greys_get_srgb(path: Path) -> None:
    for file in (
        colour_file(path, np.full((4, 4, 3), 90, np.uint8)),
        grey_file(path.with_name("grey.dcm"), CHESS),
    ):
        out = rendered(file, View(icc="yes"))
        assert "sRGB" in ImageCms.getProfileDescription(BytesIO(_profile_of(out) or b""))


def test_a_profile_of_an_optical_path_is_found(path: Path) -> None:
    own = _own_profile()
    file = colour_file(
        path, np.full((4, 4, 3), 9, np.uint8), OpticalPathSequence=[item(ICCProfile=own)]
    )
    assert _profile_of(rendered(file, View(icc="yes"))) == own


def test_colours_are_converted_by_the_objects_own_profile(path: Path) -> None:
    reds = np.full((4, 4, 3), [200, 50, 50], np.uint8)
    file = colour_file(path, reds, ICCProfile=_own_profile())
    assert (shown(file, View(icc="yes")) == reds).all()
    converted = shown(file, View(icc="srgb")).astype(int)
    assert np.abs(converted - reds[..., ::-1]).max() <= 3


def test_a_broken_profile_is_refused_only_where_colours_are_converted_by_it(path: Path) -> None:
    file = colour_file(path, np.full((4, 4, 3), 9, np.uint8), ICCProfile=b"no profile at all!")
    assert shown(file).shape == (4, 4, 3)
    with pytest.raises(WrongParameter, match="ICC profile cannot be used"):
        shown(file, View(icc="srgb"))
