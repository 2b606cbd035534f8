"""Character sets by the defined terms of Specific Character Set (PS3.3 C.12.1.1.2)."""

from typing import Final

from gateway.config.problems import did_you_mean, shown
from gateway.config.values import parse_text

ALONE: Final = {
    "ISO_IR 6": "ascii us-ascii",
    "ISO_IR 100": "latin-1 latin1 iso-8859-1",
    "ISO_IR 101": "latin-2 latin2 iso-8859-2",
    "ISO_IR 109": "latin-3 latin3 iso-8859-3",
    "ISO_IR 110": "latin-4 latin4 iso-8859-4",
    "ISO_IR 144": "cyrillic iso-8859-5",
    "ISO_IR 127": "arabic iso-8859-6",
    "ISO_IR 126": "greek iso-8859-7",
    "ISO_IR 138": "hebrew iso-8859-8",
    "ISO_IR 148": "latin-5 latin5 turkish iso-8859-9",
    "ISO_IR 13": "katakana",
    "ISO_IR 166": "thai tis-620 iso-8859-11",
    "ISO_IR 192": "utf-8 utf8 unicode",
    "GB18030": "gb2312",
    "GBK": "cp936",
}
"""Terms of which one is the whole value, each with names that people use for it elsewhere."""
_NUMBERS: Final = (6, 13, 100, 101, 109, 110, 126, 127, 138, 144, 148, 166)
"""Registration numbers (ISO-IR) of the single-byte sets."""
EXTENDING: Final = tuple(f"ISO 2022 IR {number}" for number in (*_NUMBERS, 58, 87, 149, 159))
"""Terms with code extensions, of which several are one value."""
_MEANT: Final = {name: term for term, names in ALONE.items() for name in names.split()}


def parse_charset(value: object) -> str:
    """One defined term; raises ValueError."""
    text = parse_text(value, "a character set")
    if text in ALONE or text in EXTENDING:
        return text
    meant = _MEANT.get(text.casefold())
    near = f"; did you mean {meant}?" if meant else did_you_mean(text, (*ALONE, *EXTENDING))
    raise ValueError(
        f"{shown(text)} is no term of Specific Character Set; allowed: ISO_IR"
        f" {', '.join(map(str, _NUMBERS))} or 192, GB18030, GBK, or ISO 2022 IR with a number"
        f"{near}"
    )
