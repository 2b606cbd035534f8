"""``dicom-gateway queue show`` on how the pixels of an instance were made."""

import asyncio
import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gateway.cli import app
from gateway.cli.queue import verification_line
from gateway.model import Delivered, Passport, Verification
from gateway.spool import Spool
from tests.spool.arrivals import keep

IMPLICIT = "1.2.840.10008.1.2"
EQUAL = Verification("equal", ("imagecodecs 1 (libjpeg-turbo)", "gdcm 2 (IJG libjpeg 6b)"), 3)
PASSPORT = Passport(
    target=IMPLICIT,
    decoder="imagecodecs",
    version="2026.3.6",
    frames=3,
    seconds=0.0125,
    colour="YBR_FULL_422 to RGB",
    notes=("Bits Stored 16 to 12", "first gave up"),
    stderr="a \\x1b[31mwarning",
    stored_digest="ab" * 32,
    native_digest="cd" * 32,
    verification=EQUAL,
)


def now() -> datetime:
    return datetime.now(UTC)


async def delivered(folder: Path, *passports: tuple[str, Passport]) -> None:
    spool = Spool.open(folder, clock=now, refuse_below_free=0)
    instance = await keep(spool, "1.2.1", "viewer", received_at=now())
    for form, passport in passports:
        spool.record(instance, form, passport)
    for delivery in await spool.due("viewer", limit=1, now=now()):
        await spool.settle(delivery, Delivered(IMPLICIT, "imagecodecs"))
    await spool.aclose()


def show(folder: Path, *options: str) -> str:
    result = CliRunner().invoke(app, ["queue", "show", "1.2.1", "--spool", str(folder), *options])
    assert result.exit_code == 0, result.output
    return result.output


def test_a_person_reads_how_the_pixels_were_made(tmp_path: Path) -> None:
    asyncio.run(delivered(tmp_path, (f"{IMPLICIT}+RGB+verify-lossless", PASSPORT)))
    facts = dict(
        line.strip().split("  ", 1) for line in show(tmp_path).splitlines() if "  " in line.strip()
    )
    assert facts["pixels made for"] == "implicit-le (RGB, verify-lossless)"
    assert facts["decoded by"] == "imagecodecs 2026.3.6"
    assert facts["verified"].startswith(
        "equal in 3 frames: imagecodecs 1 (libjpeg-turbo) and gdcm"
    )
    assert facts["colour"] == "YBR_FULL_422 to RGB"
    assert facts["corrections"] == "Bits Stored 16 to 12; first gave up"
    assert facts["printed"] == "a \\x1b[31mwarning"
    assert facts["stored SHA-256"] == "ab" * 32
    assert facts["native SHA-256"] == "cd" * 32
    assert facts["took"] == "3 frames in 12.5 ms"
    assert "self-test" not in facts


def test_machines_get_the_passports_with_each_delivery(tmp_path: Path) -> None:
    second = replace(PASSPORT, verification=None)
    asyncio.run(delivered(tmp_path, (IMPLICIT, PASSPORT), (f"{IMPLICIT}+RGB", second)))
    (row,) = json.loads(show(tmp_path, "--json"))
    first, other = row["passports"]
    assert row["state"] == "delivered"
    assert (first["form"], first["decoder"], first["native_digest"]) == (
        IMPLICIT,
        "imagecodecs",
        "cd" * 32,
    )
    assert first["verification"]["state"] == "equal"
    assert other["verification"] is None


def test_what_was_sent_as_stored_has_no_passport(tmp_path: Path) -> None:
    asyncio.run(delivered(tmp_path))
    assert "decoded by" not in show(tmp_path)
    assert json.loads(show(tmp_path, "--json"))[0]["passports"] == []


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (None, ""),
        (replace(EQUAL, state="within bound", maximum=1, bound=1), "3 frames equal but for 1"),
        (replace(EQUAL, state="one lineage"), "no: there is no decoder of another lineage"),
        (replace(EQUAL, state="not asked"), "no: the codestream is lossy"),
    ],
)
def test_what_was_not_verified_is_not_called_verified(
    found: Verification | None, words: str
) -> None:
    assert verification_line(found).startswith(words)
