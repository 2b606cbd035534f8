"""Damaged objects of every transfer syntax, over all decoders: contained, bounded, never wrong in
length. ``MUTATIONS`` in the environment says how many (``make mutate``: ten thousand).
"""

import asyncio
import os
import random
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from gateway.dataset.part10 import read_file_meta
from gateway.failures import Failure
from gateway.transcode.form import Coding
from gateway.transcode.instance import transcode
from gateway.transcode.pool import TranscodePool
from gateway.transcode.probes import Probe, all_probes
from gateway.transcode.source import open_source
from tests.transcode import misbehaving
from tests.transcode.objects import EXPLICIT_LE, IMPLICIT_LE, rle_of
from tests.transcode.test_syntaxes import as_object

COUNT = int(os.environ.get("MUTATIONS", "400"))
SECONDS = 5.0
TOGETHER = 4


def mutated(content: bytes, chance: random.Random) -> bytes:
    """Bits turned, bytes set to extremes, a piece cut out, doubled, or the end cut off."""
    changed = bytearray(content)
    kind = chance.randrange(5)
    begin = read_file_meta(content).dataset_offset
    first = begin if chance.random() < 0.5 else len(changed) * 2 // 3
    for _ in range(chance.choice((1, 1, 2, 8))):
        at = chance.randrange(first, len(changed))
        if kind == 0:
            changed[at] ^= 1 << chance.randrange(8)
        elif kind == 1:
            changed[at] = chance.choice((0, 1, 0x7F, 0x80, 0xFF))
        elif kind == 2:
            del changed[at : at + chance.choice((1, 2, 16))]
        elif kind == 3:
            changed[at:at] = changed[at : at + chance.choice((1, 2, 16))]
        else:
            del changed[max(at, 140) :]
        if len(changed) < first + 8:
            break
    return bytes(changed)


def length_is_right(path: Path) -> bool:
    """Whether Pixel Data has the length that its header says, and ends within the file."""
    source = open_source(path, path.parent)
    if source.pixels is None:
        return True
    number = source.values.number
    bits = number(0x00280010) * number(0x00280011) * number(0x00280002, 1) * number(0x00280100)
    frames = int(source.values.text(0x00280008).split("\\")[0] or 1) or 1
    wanted = -(-bits * frames // 8)
    if source.values.text(0x00280004) == "YBR_FULL_422":
        return source.pixels.end <= len(source.data)
    return source.pixels.end <= len(source.data) and source.pixels.length == wanted + wanted % 2


async def one(
    pool: TranscodePool, folder: Path, number: int, content: bytes, ends: Counter[str]
) -> None:
    source, out = folder / f"{number}.dcm", folder / f"{number}.out"
    source.write_bytes(content)
    target = (EXPLICIT_LE, IMPLICIT_LE)[number % 2]
    begin = time.monotonic()
    try:
        done = await pool.transcode(source, target, out)
    except Failure:
        ends["refused"] += 1
        assert not out.exists()
    else:
        ends["decoded" if done.decoder else "copied"] += 1
        if done.decoder:
            assert length_is_right(out), f"mutation {number} gave a result of another length"
        out.unlink()
    assert time.monotonic() - begin < 6 * SECONDS
    assert f"{number}.out.tmp" not in os.listdir(folder)  # noqa: PTH208
    source.unlink()


@pytest.mark.parametrize(
    "prepare", [None, misbehaving.from_the_last], ids=["best first", "last first"]
)
async def test_mutated_objects_are_contained(prepare: object, tmp_path: Path) -> None:
    chance = random.Random(20)  # noqa: S311
    probes = chance.sample([one for one in all_probes() if not one.convert], 60)
    whole = [as_object(tmp_path / "whole.dcm", probe).read_bytes() for probe in probes]
    pool = TranscodePool(2, seconds=SECONDS, memory=1 << 30, prepare=prepare)  # type: ignore[arg-type]
    ends: Counter[str] = Counter()
    try:
        for start in range(0, COUNT // 2, TOGETHER):
            contents = [mutated(chance.choice(whole), chance) for _ in range(TOGETHER)]
            tasks = [
                one(pool, tmp_path, start + k, content, ends) for k, content in enumerate(contents)
            ]
            await asyncio.gather(*tasks)
        sound = as_object(tmp_path / "sound.dcm", probes[0])
        await pool.transcode(sound, EXPLICIT_LE, tmp_path / "sound.out")
    finally:
        await pool.aclose()
    assert ends["refused"] > COUNT // 20
    assert ends["decoded"] > COUNT // 20


def test_a_random_picture_in_a_random_syntax_comes_back(tmp_path: Path) -> None:
    """The property over encoders: what a lossless encoder was given comes out of the gateway."""
    chance, noise = random.Random(11), np.random.default_rng(11)  # noqa: S311
    for _ in range(60):
        bits = chance.choice((8, 16))
        samples = chance.choice((1, 3))
        shape = (chance.randrange(1, 40), chance.randrange(1, 40), samples)
        image = noise.integers(0, 1 << bits, shape).astype(f"<u{bits // 8}")
        image = image[..., 0] if samples == 1 else image
        syntax, stream = encoded(chance, image)
        probe = Probe(
            syntax=syntax,
            coding=Coding.NATIVE,
            rows=shape[0],
            columns=shape[1],
            bits=bits,
            signed=False,
            samples=samples,
            variant="",
            photometric="MONOCHROME2" if samples == 1 else "RGB",
            convert=False,
            bound=0,
            stream=stream,
            expected=b"",
        )
        out = tmp_path / "out.dcm"
        transcode(as_object(tmp_path / "in.dcm", probe), EXPLICIT_LE, out)
        wanted = image.tobytes() + b"\0" * (image.nbytes & 1)
        assert out.read_bytes().endswith(wanted), (syntax, shape, bits)


def encoded(chance: random.Random, image: np.ndarray) -> tuple[str, bytes]:
    """A transfer syntax and the picture in it."""
    import imagecodecs

    bits = 8 * image.itemsize
    flat = image.reshape(image.shape[0] * image.shape[1], -1)
    planes = [
        (flat[:, s] >> shift & 255).astype("u1").tobytes()
        for s in range(flat.shape[1])
        for shift in range(bits - 8, -1, -8)
    ]
    same = {} if image.ndim == 2 else {"colorspace": "RGB", "outcolorspace": "RGB"}
    makers = {
        "5": lambda: rle_of(planes),
        "4.70": lambda: imagecodecs.jpeg8_encode(image, lossless=True, predictor=1, **same),
        "4.57": lambda: imagecodecs.jpeg8_encode(image, lossless=True, predictor=4, **same),
        "4.80": lambda: imagecodecs.jpegls_encode(image),
        "4.90": lambda: imagecodecs.jpeg2k_encode(image, level=0, codecformat="j2k"),
        "4.92": lambda: imagecodecs.jpeg2k_encode(image, level=0, codecformat="j2k", mct=False),
        "4.201": lambda: imagecodecs.htj2k_encode(image, reversible=True),
        "4.110": lambda: imagecodecs.jpegxl_encode(image, lossless=True),
    }
    key = chance.choice(sorted(makers))
    return f"1.2.840.10008.1.2.{key}", bytes(makers[key]())
