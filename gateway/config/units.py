"""Durations and sizes as administrators write them: ``30s``, ``15m``, ``3d``; ``512MiB``."""

import re
from datetime import timedelta
from typing import Final, NamedTuple

from gateway.config.problems import did_you_mean, shown, unexpected

_MILLISECONDS: Final = {
    "ms": 1,
    "s": 1_000,
    "m": 60_000,
    "h": 3_600_000,
    "d": 86_400_000,
    "w": 604_800_000,
}
_WORDS: Final = {
    "sec": "s", "secs": "s", "second": "s", "seconds": "s",
    "min": "m", "mins": "m", "minute": "m", "minutes": "m",
    "hr": "h", "hour": "h", "hours": "h",
    "day": "d", "days": "d", "week": "w", "weeks": "w",
}  # fmt: skip
_BYTES: Final = {
    "B": 1,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "KiB": 1 << 10,
    "MiB": 1 << 20,
    "GiB": 1 << 30,
    "TiB": 1 << 40,
}
_SHORT: Final = {letter: f"{letter.upper()}iB" for letter in "kmgtKMGT"}
_AMOUNT: Final = re.compile(r"([0-9]{1,18}) ?([A-Za-z]{0,8})")
_DURATIONS: Final = "a number with ms, s, m, h, d or w, such as 30s, 15m or 3d"
_SIZES: Final = "a number with B, KB, MB, GB, KiB, MiB or GiB, such as 512MiB"
_RATE: Final = re.compile(r"[0-9]{1,7}(?:\.[0-9]{1,3})?")
_LONGEST: Final = timedelta(days=36_500) // timedelta(milliseconds=1)


class Retry(NamedTuple):
    """The wait after the first failure and the longest wait, in seconds."""

    first: float
    longest: float


def _milliseconds(text: str) -> int:
    """The duration that ``text`` says; raises ValueError."""
    found = _AMOUNT.fullmatch(text)
    if not found:
        raise ValueError(f"{shown(text)} is not a duration; allowed: {_DURATIONS}")
    number, unit = found.groups()
    if unit not in _MILLISECONDS:
        meant = _WORDS.get(unit.lower(), unit.lower())
        hint = f"; did you mean {number}{meant}?" if meant in _MILLISECONDS else ""
        hint = hint if unit else "; the unit is missing"
        raise ValueError(f"{shown(text)} is not a duration; allowed: {_DURATIONS}{hint}")
    amount = int(number) * _MILLISECONDS[unit]
    if amount > _LONGEST:
        raise ValueError(f"{shown(text)} is longer than 100 years")
    return amount


def parse_duration(value: object) -> float:
    """Seconds, more than 0; raises ValueError."""
    match value:
        case str():
            seconds = _milliseconds(value.strip()) / 1000
        case timedelta():
            seconds = value.total_seconds()
        case int() | float():
            seconds = float(value)
        case _:
            raise unexpected("a duration", value, f"; allowed: {_DURATIONS}")
    if not 0 < seconds < _LONGEST:
        raise ValueError(f"{shown(value)} is not longer than 0s")
    return seconds


def format_duration(seconds: float) -> str:
    """The shortest text that ``parse_duration`` reads as the same duration, to the ms."""
    amount = round(seconds * 1000)
    unit = next(u for u in ("d", "h", "m", "s", "ms") if amount % _MILLISECONDS[u] == 0)
    return f"{amount // _MILLISECONDS[unit]}{unit}"


def parse_size(value: object) -> int:
    """Bytes, more than 0; raises ValueError."""
    if isinstance(value, int):
        return value
    if not isinstance(value, str):
        raise unexpected("a size", value, f"; allowed: {_SIZES}")
    found = _AMOUNT.fullmatch(value.strip())
    if not found or found[2] not in _BYTES:
        raise ValueError(f"{shown(value)} is not a size; allowed: {_SIZES}{_size_meant(found)}")
    size = int(found[1]) * _BYTES[found[2]]
    if not 0 < size < 1 << 60:
        raise ValueError(f"{shown(value)} is out of range; allowed: more than 0, less than 1 EiB")
    return size


def _size_meant(found: re.Match[str] | None) -> str:
    if not found:
        return ""
    number, unit = found.groups()
    if not unit:
        return "; the unit is missing"
    if unit in _SHORT:
        return f"; did you mean {number}{_SHORT[unit]}?"
    return did_you_mean(number + unit, [number + known for known in reversed(_BYTES)])


def format_size(size: int) -> str:
    """The shortest text that ``parse_size`` reads as the same number of bytes."""
    unit = max((u for u, each in _BYTES.items() if size % each == 0), key=lambda u: _BYTES[u])
    return f"{size // _BYTES[unit]}{unit}"


def parse_retry(value: object) -> Retry:
    """``FIRST..LONGEST``, such as ``30s..15m``; raises ValueError."""
    match value:
        case Retry():
            return value
        case str() if value.count("..") == 1:
            first, longest = map(parse_duration, value.split(".."))
        case _:
            raise ValueError(
                f"{shown(value)} is not a retry schedule; allowed: FIRST..LONGEST wait, such as"
                " 30s..15m"
            )
    if first > longest:
        raise ValueError(
            f"{shown(value)} has a first wait longer than the longest"
            f"; did you mean {format_duration(longest)}..{format_duration(first)}?"
        )
    return Retry(first, longest)


def format_retry(retry: Retry) -> str:
    """The text that ``parse_retry`` reads."""
    return f"{format_duration(retry.first)}..{format_duration(retry.longest)}"


def parse_rate(value: object) -> float:
    """A number per second, from 0.001 to 1,000,000; raises ValueError."""
    if isinstance(value, float):
        return value
    what = "a number such as 20 or 0.5"
    if not isinstance(value, str):
        raise unexpected("a rate", value, f"; allowed: {what}")
    if not _RATE.fullmatch(value.strip()):
        raise ValueError(f"{shown(value)} is not a rate; allowed: {what}")
    rate = float(value)
    if not 0.001 <= rate <= 1_000_000:
        raise ValueError(f"{shown(value)} is out of range; allowed: 0.001 to 1000000")
    return rate


def format_rate(rate: float) -> str:
    """The text that ``parse_rate`` reads as the same number."""
    return f"{rate:.3f}".rstrip("0").rstrip(".")
