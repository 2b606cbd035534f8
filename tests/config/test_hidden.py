"""What the environment holds is in no problem that a file has."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from ruamel.yaml import YAML
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from gateway.config import ConfigError, load, load_text
from tests.config.test_wrong_files import CASES

NODE = "nodes: { n: { dimse: { ae_title: N, host: h, port: 104 } } }"
HIDDEN = "whose value is not shown"


@pytest.mark.parametrize(
    ("text", "value", "expected"),
    [
        (
            "nodes: { n: { dimse: { ae_title: N, host: h, port: '${V}' } } }",
            "hunter2",
            "2:52: nodes.n.dimse.port: expected a whole number from 1 to 65535, found '${V}', "
            + HIDDEN,
        ),
        (
            "nodes: { n: { dimse: { ae_title: N, host: h, port: '${V}' } } }",
            "123456",
            "2:52: nodes.n.dimse.port: what is taken from ${V} cannot be used here; allowed: a"
            " whole number from 1 to 65535",
        ),
        (
            "gateway: { ae_title: 'X${V}' }",
            "hunter2-hunter2-hunter2",
            "2:22: gateway.ae_title: what is taken from ${V} cannot be used here; allowed: 1 to"
            " 16",
        ),
        (
            f"{NODE}\nroutes: [{{ name: r, send_to: ['${{V}}'] }}]",
            "hunter2",
            "3:31: '${V}' is no node; nodes: n, " + HIDDEN,
        ),
        (
            f"{NODE}\nroutes: [{{ name: r, send_to: n, match: {{ Rows: {{ min: 9, max: '${{V}}' }}"
            " } }]",
            "7",
            "3:48: routes.match.Rows: what is taken from ${V} cannot be used here",
        ),
        (
            f"{NODE}\nroutes: [{{ name: '${{V}}', send_to: n }}, {{ name: hunter2, send_to: n }}]",
            "hunter2",
            "3:48: routes.name: this does not go with what is taken from ${V}",
        ),
        (
            "nodes: { n: { dicomweb: { url: 'https://u:${V}@h' } } }",
            "hunter2",
            "2:32: nodes.n.dicomweb.url: the URL holds a user or password; write them under auth:;"
            " allowed: such as https://pacs.example/dicom-web",
        ),
        (
            "nodes: { n: { dicomweb: { url: 'https://h', auth: { bearer: '${V}' } } } }",
            "hun\nter2",
            "2:61: nodes.n.dicomweb.auth.bearer: ${V} is empty or holds control characters",
        ),
        ("include: '${V}'", "hunter2", "2:10: include: '${V}' is no file and no folder"),
        ("gateway: '${V}'", "hunter2", "2:10: gateway: expected keys and values, found '${V}', "
         + HIDDEN),
    ],
)  # fmt: skip
def test_a_problem_names_the_variable_and_not_what_it_holds(
    text: str, value: str, expected: str
) -> None:
    with pytest.raises(ConfigError) as refusal:
        load_text(f"version: 1\n{text}\n", "FILE", {"V": value})
    assert str(refusal.value) == f"FILE:{expected}"


def test_a_variable_in_an_included_file_is_hidden_as_well(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("version: 1\ninclude: b.yaml\n")
    (tmp_path / "b.yaml").write_text("routes:\n  - { name: r, send_to: '${V}' }\n")
    with pytest.raises(ConfigError) as refusal:
        load(tmp_path / "a.yaml", {"V": "hunter2"})
    text = f"{tmp_path}/b.yaml:2:25: '${{V}}' is no node; nodes: none, {HIDDEN}"
    assert str(refusal.value) == text
    (tmp_path / "b.yaml").write_text("'${V}'\n")
    with pytest.raises(ConfigError, match=r"found '\$\{V\}'$"):
        load(tmp_path / "a.yaml", {"V": "hunter2"})


def test_what_is_wrong_elsewhere_is_told_as_ever() -> None:
    with pytest.raises(ConfigError) as refusal:
        load_text("version: 1\ngateway: { ae_title: '${V}', drain_timeout: soon }\n", "FILE",
                  {"V": "soon"})  # fmt: skip
    assert "gateway.drain_timeout: 'soon' is not a duration" in str(refusal.value)


@pytest.mark.parametrize("text", [case[1] for case in CASES], ids=[case[0] for case in CASES])
def test_any_value_of_a_wrong_file_may_come_from_the_environment_unseen(text: str) -> None:
    for start, end, value in _scalars(text):
        rest = f"{text[:start]}'${{V}}'{text[end:]}"
        if len(value) > 3 and value not in rest and "${" not in value:
            told = _problems(rest, value) - _problems(rest, "another " * 8)
            assert value not in "".join(told)


def _problems(text: str, value: str) -> set[str]:
    """What is wrong with the file, without what is allowed."""
    try:
        load_text(text, "FILE", {"V": value, "TOKEN": "s3cret"})
    except ConfigError as error:
        return {re.split("; allowed|, such as", each.text)[0] for each in error.problems}
    return set()


def _scalars(text: str) -> Iterator[tuple[int, int, str]]:
    """Begin, end and text of every value that is a plain one."""
    try:
        root = YAML(typ="rt", pure=True).compose(text)
    except Exception:  # noqa: BLE001 - what is no YAML has no values
        return
    yield from _below(root, set())


def _below(node: Node | None, seen: set[int]) -> Iterator[tuple[int, int, str]]:
    if id(node) in seen:
        return
    seen.add(id(node))
    match node:
        case ScalarNode():
            yield node.start_mark.index, node.end_mark.index, node.value
        case MappingNode():
            for _, value in node.value:
                yield from _below(value, seen)
        case SequenceNode():
            for each in node.value:
                yield from _below(each, seen)
