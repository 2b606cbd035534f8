"""Text is written in its character set exactly, or refused (PS3.5 6.1, Annexes H to K)."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.dataset.charset import encoded
from gateway.dataset.text import decoded, decoded_exactly

KOREAN = "Hong^Gildong=洪^吉洞=홍^길동"
JAPANESE = "Yamada^Tarou=山田^太郎=やまだ^たろう"
HALF_WIDTH = "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう"

WRITTEN = [
    (JAPANESE, rb"\ISO 2022 IR 87", b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B="
     b"\x1b$B$d$^$@\x1b(B^\x1b$B$?$m$&\x1b(B"),
    (HALF_WIDTH, rb"ISO 2022 IR 13\ISO 2022 IR 87", b"\xd4\xcf\xc0\xde^\xc0\xdb\xb3="
     b"\x1b$B;3ED\x1b(J^\x1b$BB@O:\x1b(J=\x1b$B$d$^$@\x1b(J^\x1b$B$?$m$&\x1b(J"),
    (KOREAN, rb"\ISO 2022 IR 149", b"Hong^Gildong=\x1b$)C\xfb\xf3^\x1b$)C\xd1\xce\xd4\xd7="
     b"\x1b$)C\xc8\xab^\x1b$)C\xb1\xe6\xb5\xbf"),
    ("Wang^XiaoDong=王^小东", b"GB18030", b"Wang^XiaoDong=\xcd\xf5^\xd0\xa1\xb6\xab"),
    ("Wang^XiaoDong=王^小東", b"ISO_IR 192", "Wang^XiaoDong=王^小東".encode()),
    ("Buc^Jérôme", b"ISO_IR 100", b"Buc^J\xe9r\xf4me"),
    ("Жди", b"ISO_IR 144", b"\xb6\xd4\xd8"),
]  # fmt: skip
"""The examples of H.3, I.2, J.1 to J.3 and others, as the standard prints their bytes."""


MORE = [
    b"ISO_IR 13", b"ISO_IR 166", b"GBK", rb"\ISO 2022 IR 58", rb"\ISO 2022 IR 13",
    rb"\ISO 2022 IR 87\ISO 2022 IR 159", rb"ISO 2022 IR 13\ISO 2022 IR 87",
    rb"ISO 2022 IR 100\ISO 2022 IR 144\ISO 2022 IR 126",
    rb"ISO 2022 IR 6\ISO 2022 IR 149\ISO 2022 IR 100",
]  # fmt: skip


@pytest.mark.parametrize(("text", "charsets", "value"), WRITTEN)
def test_names_are_written_as_the_standard_shows(text: str, charsets: bytes, value: bytes) -> None:
    assert encoded(text, charsets, "PN") == value
    assert decoded_exactly(value, charsets) == text


@pytest.mark.parametrize(
    ("text", "charsets", "why"),
    [
        ("Müller", b"", "cannot write"),
        ("Müller", b"ISO_IR 6", "cannot write"),
        ("é", rb"\ISO 2022 IR 149", "cannot write"),
        ("Д é", rb"\ISO 2022 IR 144", "cannot write"),
        ("€", b"ISO_IR 100", "cannot write"),
        ("山田", b"ISO_IR 13", "cannot write"),
        ("é", b"ISO_IR 999", "'ISO_IR 999', which is unknown"),
    ],
)
def test_what_the_character_set_has_not_is_refused(text: str, charsets: bytes, why: str) -> None:
    with pytest.raises(ValueError, match=why) as refused:
        encoded(text, charsets)
    assert text not in str(refused.value)


@pytest.mark.parametrize(
    ("value", "charsets"),
    [(b"M\xfcller", b""), (b"M\xfcller", b"ISO_IR 192"), (b"\x1b%A\xfc", rb"\ISO 2022 IR 149")],
)
def test_bytes_without_a_meaning_are_read_for_the_eye_only(value: bytes, charsets: bytes) -> None:
    assert decoded(value, charsets)
    with pytest.raises(ValueError, match="no meaning"):
        decoded_exactly(value, charsets)


@settings(deadline=None, max_examples=300)
@given(
    st.text(st.characters(min_codepoint=32, exclude_characters="\\^=", exclude_categories=["Cs"]))
    | st.text(st.sampled_from("aZ éüÄßДжЖαωกข山田金ｱﾔﾏ홍길동王小丂丄¥‾~")),
    st.sampled_from([*{charsets for _, charsets, _ in WRITTEN}, *MORE]),
)
def test_whatever_is_written_is_read_again(text: str, charsets: bytes) -> None:
    try:
        value = encoded(text, charsets)
    except ValueError:
        return
    assert decoded_exactly(value, charsets) == text
