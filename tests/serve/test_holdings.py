"""What a study or series is told by: its version, and a few instances that stand for it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.serve.holdings import LocalHoldings
from tests.index.archive import SR, Archive, image, opened_archive


@pytest.fixture
async def archive(tmp_path: Path) -> AsyncIterator[Archive]:
    async with opened_archive(tmp_path / "spool") as opened:
        yield opened


async def test_a_version_changes_with_every_instance_that_comes_or_goes(archive: Archive) -> None:
    holdings = LocalHoldings(archive.index, archive.spool)
    assert await holdings.version("1.1", "") == ""
    await archive.keep(image("1.1", "1.1.1", "1.1.1.1"), image("1.1", "1.1.2", "1.1.2.1"))
    first = await holdings.version("1.1", "")
    series = await holdings.version("1.1", "1.1.2")
    assert first != series != ""
    assert await holdings.version("1.1", "") == first
    await archive.keep(image("1.1", "1.1.1", "1.1.1.2"))
    more = await holdings.version("1.1", "")
    await archive.keep(image("1.1", "1.1.1", "1.1.1.1", PatientName="Another"))
    anew = await holdings.version("1.1", "")
    assert len({first, more, anew}) == 3
    assert await holdings.version("1.1", "1.1.2") == series
    await archive.forget(archive.kept[2], archive.kept[3])
    assert await holdings.version("1.1", "") == first


async def test_the_middle_of_each_series_stands_for_it_and_not_all_are_listed(
    archive: Archive,
) -> None:
    for series, count in (("1.1.1", 90), ("1.1.2", 1)):
        for number in range(count):
            one = image("1.1", series, f"{series}.{number}", InstanceNumber=number)
            await archive.keep(one)
    reports = [image("1.1", f"1.1.3{n}", f"1.1.3{n}.1", SOPClassUID=SR) for n in range(30)]
    await archive.keep(*reports)
    holdings = LocalHoldings(archive.index, archive.spool)
    study = [each.sop_instance_uid for each in await holdings.sample("1.1", "", 16)]
    assert {"1.1.1.44", "1.1.2.0"} < set(study)
    assert len(study) == 32
    series = [each.sop_instance_uid for each in await holdings.sample("1.1", "1.1.1", 4)]
    assert series == [f"1.1.1.{number}" for number in (43, 44, 45, 46)]
    assert await holdings.sample("1.9", "", 16) == []
