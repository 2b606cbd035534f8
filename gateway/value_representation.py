"""The kinds of value representations, and what text a value of each may be (PS3.5 6.2).

Reasons never quote a value.
"""

import re
from datetime import date
from typing import Final

LONGEST: Final = {"LO": 64, "LT": 10240, "SH": 16, "ST": 1024, "UC": 2**32 - 2, "UT": 2**32 - 2}
"""Characters of a value at most, where ``check`` asks for no form; a PN has them by group."""
CHARSET_VRS: Final = frozenset((*LONGEST, "PN"))
"""The VRs whose text is in Specific Character Set (6.1.2.3)."""
ONE_VALUE: Final = frozenset(("LT", "ST", "UT", "UR"))
"""The VRs of which an element holds one value: a backslash is a letter like others."""
BINARY: Final = frozenset(("OB", "OD", "OF", "OL", "OV", "OW", "UN"))
"""The VRs of bytes: what they mean, an element's VR does not say."""
NUMBERS: Final = {
    "US": "H",
    "SS": "h",
    "UL": "I",
    "SL": "i",
    "UV": "Q",
    "SV": "q",
    "FL": "f",
    "FD": "d",
}
"""Binary numbers by VR, as struct names them."""
NUMERIC: Final = NUMBERS.keys() | {"DS", "IS"}
"""The VRs of numbers, written as text or not."""
_CONTROLS: Final = re.compile(r"[\x00-\x1f\x7f]")
_CONTROLS_IN_LONG: Final = re.compile(r"[\x00-\x08\x0b\x0e-\x1f\x7f]")
_TIME: Final = r"([01]\d|2[0-3])([0-5]\d(([0-5]\d|60)(\.\d{1,6})?)?)?"
_FORMS: Final = {
    "AE": (r"(?=.*[^ ])[ -\[\]-~]{1,16}", "1 to 16 characters of ASCII, not all of them spaces"),
    "AS": (r"\d{3}[DWMY]", "an age such as 042Y"),
    "CS": (r"[A-Z0-9 _]{1,16}", "at most 16 capital letters, digits, spaces and underscores"),
    "DA": (r"\d{8}", "a date, YYYYMMDD"),
    "DS": (r"(?=.{1,16}$) *[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)? *", "a number, 16 characters"),
    "DT": (rf"\d{{4}}(\d\d(\d\d({_TIME})?)?)?([+-]\d{{4}})?", "a date and time, YYYYMMDDHHMMSS"),
    "IS": (r"(?=.{1,12}$) *[+-]?\d+ *", "a whole number, 12 characters"),
    "TM": (_TIME, "a time, HHMMSS.FFFFFF"),
    "UI": (r"(?=.{1,64}$)(0|[1-9]\d*)(\.(0|[1-9]\d*))+", "a UID"),
    "UR": (r"[!-~][ -~]*", "a URI"),
}
TEXT: Final = CHARSET_VRS | _FORMS.keys()
"""The VRs of which ``check`` knows."""
_PATTERNS: Final = {vr: re.compile(form, re.ASCII) for vr, (form, _) in _FORMS.items()}


def check(vr: str, value: str) -> None:
    """Raise ValueError where a text is no value of this VR of text; "" is one of each."""
    if not value:
        return
    if vr in _PATTERNS:
        if not _PATTERNS[vr].fullmatch(value) or not _is_day(vr, value):
            raise ValueError(f"no value of VR {vr}: {_FORMS[vr][1]}")
        if vr == "IS" and not -(2**31) <= int(value) < 2**31:
            raise ValueError("no value of VR IS: it does not fit into 32 bits")
        return
    if vr not in ONE_VALUE and "\\" in value:
        raise ValueError("a backslash, which separates values")
    long = vr in ("LT", "ST", "UT")
    if found := (_CONTROLS_IN_LONG if long else _CONTROLS).search(value):
        raise ValueError(f"a control character, U+{ord(found.group()):04X}")
    if vr == "PN":
        _check_name(value)
    elif len(value) > LONGEST.get(vr, 0):
        raise ValueError(f"{len(value)} characters; a {vr} has at most {LONGEST.get(vr, 0)}")


def _check_name(value: str) -> None:
    """PS3.5 6.2.1: three groups of five components, each group of 64 characters."""
    groups = value.split("=")
    if len(groups) > 3 or any(group.count("^") > 4 for group in groups):
        raise ValueError("a person name of more than 3 groups or 5 components")
    if any(len(group) > 64 for group in groups):
        raise ValueError("a person name with more than 64 characters in a group")


def _is_day(vr: str, value: str) -> bool:
    """Whether the month and the day that a date names exist."""
    if vr not in ("DA", "DT") or len(value) < 6:
        return True
    year, month, day = value[:4], value[4:6], value[6:8] or "01"
    if not (month + day).isdecimal():
        return True
    try:
        date(int(year), int(month), int(day))
    except ValueError:
        return False
    return True
