"""Every wrong file of the table is refused with exactly the texts written beside it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.config import ConfigError, load, load_text

TABLE = Path(__file__).with_name("wrong_files.txt")


def cases() -> Iterator[tuple[str, str, list[str]]]:
    """Claim, file, expected problems."""
    for case in TABLE.read_text(encoding="utf-8").split("\n=== ")[1:]:
        head, _, expected = case.partition("---->\n")
        claim, _, text = head.partition("\n")
        yield claim, text, [line for line in expected.splitlines() if line]


CASES = list(cases())


@pytest.mark.parametrize(
    ("text", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_a_wrong_file_is_refused_with_every_problem(text: str, expected: list[str]) -> None:
    assert _problems(text) == expected


def test_the_table_holds_more_than_a_hundred_different_files() -> None:
    assert len({text for _, text, _ in CASES}) == len(CASES) > 100


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "1:1: the file is empty; the least is: version: 1"),
        ("version: 1\0\n", "1:11: character U+0000 is not allowed in YAML"),
        (
            "version: 1\ngateway:\n\tae_title: GW\n",
            "3:1: YAML: a tab stands where YAML takes spaces only",
        ),
        (
            'version: 1\ngateway: { ae_title: "A\\u2028B" }\n',
            "2:22: the text holds U+2028, a control character",
        ),
        ("[" * 1500, "1:1: values are nested too deeply"),
    ],
    ids=["empty", "NUL", "tab", "line separator", "nesting"],
)
def test_signs_that_no_text_file_shows_are_named(text: str, expected: str) -> None:
    assert _problems(text) == [expected]


def test_aliases_that_multiply_are_stopped() -> None:
    lines = ["version: 1", "a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    (problem,) = _problems("\n".join(lines))
    assert "too many values" in problem


def test_a_missing_file_is_named_without_a_line(tmp_path: Path) -> None:
    path = tmp_path / "none.yaml"
    with pytest.raises(ConfigError) as refusal:
        load(path)
    assert str(refusal.value) == f"{path}: cannot be read: No such file or directory"


def test_a_file_in_latin_1_is_refused_where_its_first_umlaut_stands(tmp_path: Path) -> None:
    path = tmp_path / "latin1.yaml"
    path.write_bytes("version: 1\n# Röntgen\n".encode("latin-1"))
    with pytest.raises(ConfigError) as refusal:
        load(path)
    assert str(refusal.value) == f"{path}:2:4: byte 0xF6 is not UTF-8; save the file as UTF-8"


def _problems(text: str) -> list[str]:
    with pytest.raises(ConfigError) as refusal:
        load_text(text, "FILE", {"TOKEN": "s3cret"})
    assert str(refusal.value).splitlines() == [str(each) for each in refusal.value.problems]
    assert "s3cret" not in str(refusal.value)
    assert all(problem.file == "FILE" for problem in refusal.value.problems)
    return [str(problem).removeprefix("FILE:") for problem in refusal.value.problems]
