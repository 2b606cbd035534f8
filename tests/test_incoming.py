"""A file that arrives in pieces: the same instance whatever the pieces, and no preamble passes."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from gateway.config import load_text
from gateway.dataset.part10 import encode_file_meta
from gateway.failures import PermanentFailure
from gateway.incoming import IncomingFile, TooLarge, UnknownTransferSyntax, Unreadable
from gateway.intake import Intake, OtherStudy
from gateway.model import Arrival, Origin
from gateway.route.rules import compile_rules
from gateway.spool import Spool
from tests.test_intake import CT, EXPLICIT_LE, ROUTES, data_set

ORIGIN = Origin(Arrival.STOW_RS, address="10.0.0.9")


def part10(transfer_syntax: str = EXPLICIT_LE, private: int = 0) -> bytes:
    meta = encode_file_meta(
        sop_class_uid=CT, sop_instance_uid="1.2.3", transfer_syntax=transfer_syntax
    )
    return meta + data_set(private=private)


@pytest.fixture
async def spool(tmp_path):
    opened = Spool.open(tmp_path / "spool", clock=lambda: datetime.now(UTC), refuse_below_free=1)
    yield opened
    await opened.aclose()


@pytest.fixture
def intake(spool: Spool) -> Intake:
    rules = compile_rules(load_text(ROUTES, "test"))
    return Intake(spool, rules, kept=lambda *_: None, clock=lambda: datetime.now(UTC))


def incoming(intake: Intake, *pieces: bytes, max_size: int = 1 << 30) -> IncomingFile:
    file = IncomingFile(intake, ORIGIN, max_size=max_size)
    for piece in pieces:
        file.write(piece)
    return file


def files_in(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.suffix in (".part", ".dcm")]


@pytest.mark.parametrize("length", [1, 7, 4096, 1 << 20])
async def test_pieces_of_any_length_make_the_same_instance(intake: Intake, length: int) -> None:
    whole = part10(private=200_000)
    pieces = [whole[start : start + length] for start in range(0, len(whole), length)]
    instance = await incoming(intake, *pieces).admit()
    assert (instance.sop_instance_uid, instance.study_uid) == ("1.2.3", "1.2.3.4")
    assert instance.origin == ORIGIN
    assert instance.file.read_bytes().endswith(data_set(private=200_000))


async def test_what_a_preamble_hides_is_not_kept(intake: Intake) -> None:
    program = b"MZ\x90\0" + bytes(range(124)) + part10()[128:]
    instance = await incoming(intake, program).admit()
    assert instance.file.read_bytes()[:132] == bytes(128) + b"DICM"


async def test_an_unknown_transfer_syntax_is_refused_by_its_name(intake: Intake) -> None:
    with pytest.raises(UnknownTransferSyntax, match=r"1\.2\.3\.4\.5"):
        await incoming(intake, part10("1.2.3.4.5")).admit()


@pytest.mark.parametrize("data", [b"", b"hello", bytes(5000), b"<html>" * 5000])
async def test_what_is_no_file_is_refused(intake: Intake, data: bytes) -> None:
    with pytest.raises(PermanentFailure):
        await incoming(intake, data).admit()


async def test_zeros_are_refused_before_they_are_all_there(intake: Intake) -> None:
    file = incoming(intake, bytes(1 << 16))
    with pytest.raises(Unreadable, match="no DICOM file"):
        file.write(bytes(1 << 20))


async def test_a_file_that_is_too_long_is_refused_while_it_comes(
    intake: Intake, tmp_path: Path
) -> None:
    file = incoming(intake, part10(private=100_000), max_size=150_000)
    with pytest.raises(TooLarge, match="150000 bytes"):
        file.write(bytes(100_000))
    file.abort()
    assert files_in(tmp_path) == []


async def test_an_instance_of_another_study_is_not_kept(intake: Intake, tmp_path: Path) -> None:
    with pytest.raises(OtherStudy, match=r"study 1\.2\.3\.4, not of 1\.2\.9"):
        await incoming(intake, part10()).admit(study="1.2.9")
    assert files_in(tmp_path) == []


async def test_what_is_not_routed_is_owed_to_nobody(intake: Intake, spool: Spool) -> None:
    await incoming(intake, part10()).admit(routed=False)
    assert (await spool.counts()).destinations == {}
    await incoming(intake, part10()).admit()
    assert (await spool.counts()).destinations["pacs"].owed == 1
