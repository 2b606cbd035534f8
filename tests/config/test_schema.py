"""The JSON Schema takes what the loader takes, and shows editors what it refuses."""

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from ruamel.yaml import YAML

from gateway.config import load_text
from gateway.config.schema import schema

FOLDER = Path(__file__).parents[2] / "config"
VALIDATOR = Draft202012Validator(schema())
NODE = "nodes: { n: { dimse: { ae_title: N, host: h } } }\n"


def _data(text: str) -> Any:
    return json.loads(json.dumps(YAML(typ="safe", pure=True).load(text), default=str))


def _complaints(text: str) -> list[str]:
    return [error.json_path for error in VALIDATOR.iter_errors(_data(text))]


def test_the_schema_is_one() -> None:
    Draft202012Validator.check_schema(schema())


def test_the_schema_beside_the_examples_is_the_one_of_this_version() -> None:
    assert json.loads((FOLDER / "schema.json").read_text(encoding="utf-8")) == schema()


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_example_fits_and_tells_editors_where_the_schema_is(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert _complaints(text) == []
    assert text.startswith("# yaml-language-server: $schema=schema.json\n")


@pytest.mark.parametrize(
    "text",
    [
        "nodes: { n: { dimse: { ae_title: 104, host: h, port: 104 } } }",
        NODE + "routes: [{ name: r, send_to: n, match: { Rows: { min: 5 }, Modality: [CT] } }]",
        NODE + "routes: [{ name: r, send_to: [n], delivery: { retry: 30s..15m } }]",
        "gateway: { web: { auth: { default: none } }, spool: { keep: forever } }",
        "nodes: { c: { dicomweb: { url: https://c, auth: { bearer: '${T}' } } } }",
        "nodes: { n: { dimse: { ae_title: N, host: h } }, c: { dicomweb: { url: https://c } } }\n"
        "query_retrieve: [{ name: q, allow: n, services: [find, get], source: c }]",
        "include: conf.d",
    ],
)
def test_what_the_loader_takes_fits(text: str) -> None:
    text = f"version: 1\n{text}\n"
    assert _complaints(text) == []
    if "include" not in text:
        load_text(text, environment={"T": "t"})


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("node: {}", "$"),
        ("nodes: { n: { dimse: { ae_titel: N, host: h } } }", "$.nodes.n.dimse"),
        ("nodes: { n: { dimse: { ae_title: N, host: h, port: 0 } } }", "$.nodes.n.dimse.port"),
        (NODE + "routes: [{ name: r }]", "$.routes[0]"),
        ("gateway: { spool: { keep: 7 } }", "$.gateway.spool.keep"),
        ("nodes: { c: { dicomweb: { url: u, auth: { bearer: s3cret } } } }",
         "$.nodes.c.dicomweb.auth.bearer"),
    ],
)  # fmt: skip
def test_an_editor_marks_what_the_loader_refuses(text: str, path: str) -> None:
    assert path in _complaints(f"version: 1\n{text}\n")
