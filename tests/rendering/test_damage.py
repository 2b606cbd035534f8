"""Damaged headers: a picture comes out or a refusal, and never anything else."""

import random
from contextlib import suppress
from pathlib import Path

import pytest
from pydicom.data import get_testdata_file

from gateway.failures import PermanentFailure
from gateway.rendering.content import document, video
from gateway.rendering.view import View, Window
from tests.rendering.pictures import rendered

FILES = (
    "CT_small.dcm",
    "MR_small_implicit.dcm",
    "examples_palette.dcm",
    "SC_ybr_full_422_uncompressed.dcm",
    "rtdose.dcm",
    "liver_1frame.dcm",
    "MR_small_RLE.dcm",
)
VIEWS = (
    View(),
    View(viewport=(50, 60), annotations=("patient", "technique"), icc="yes"),
    View(window=Window(40, 400), viewport=(200, 200), icc="srgb"),
)


def _damaged(content: bytes, chance: random.Random) -> bytes:
    """With some bytes changed, mostly in the elements of group 0028."""
    damaged = bytearray(content)
    for _ in range(chance.choice((1, 1, 2, 4))):
        start = content.find(b"\x28\0", chance.randrange(200, 1500))
        place = max(start, 132) + chance.randrange(4, 200)
        damaged[min(place, len(damaged) - 1)] = chance.choice((0, 1, 16, 48, 57, 128, 255))
    return bytes(damaged[: chance.randrange(len(damaged))] if chance.random() < 0.1 else damaged)


@pytest.mark.parametrize("name", FILES)
def test_a_damaged_object_is_shown_or_refused(name: str, tmp_path: Path) -> None:
    found = get_testdata_file(name, download=False)
    if found is None:
        pytest.skip(f"pydicom bundles no {name}")
    content, chance = Path(str(found)).read_bytes(), random.Random(name)  # noqa: S311
    file, shown, refused = tmp_path / "damaged.dcm", 0, 0
    for _ in range(150):
        file.write_bytes(_damaged(content, chance))
        media_type = chance.choice(("image/png", "image/jpeg", "image/gif"))
        animated = media_type == "image/gif" and chance.random() < 0.5
        try:
            rendered(file, chance.choice(VIEWS), media_type=media_type, animated=animated)
            shown += 1
        except PermanentFailure:
            refused += 1
        with suppress(PermanentFailure):
            video(file)
        with pytest.raises(PermanentFailure):
            document(file)
    assert shown > 5
    assert refused > 5
