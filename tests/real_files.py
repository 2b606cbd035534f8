"""The real compressed files beside the checkout: where they are, and what their pixels must be."""

import csv
from functools import cache
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "shared" / "data"

needs_real_files = pytest.mark.skipif(
    not FOLDER.is_dir(), reason=f"the real files are not here: {FOLDER}"
)


@cache
def catalogue() -> list[dict[str, str]]:
    """The rows of catalog.csv; empty where the folder is absent."""
    return _rows("catalog.csv")


@cache
def references() -> dict[str, dict[str, str]]:
    """File name -> its row of reference.csv; empty where the folder is absent."""
    return {row["file"]: row for row in _rows("reference.csv")}


def _rows(name: str) -> list[dict[str, str]]:
    path = FOLDER / name
    if not path.is_file():
        return []
    with path.open(newline="") as lines:
        return list(csv.DictReader(lines))
