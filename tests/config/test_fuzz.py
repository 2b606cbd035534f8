"""No text brings anything but ConfigError, and what is accepted prints as what it is."""

import random
import re
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from gateway.config import Config, ConfigError, effective, load_text
from gateway.config.section import Section

EXAMPLES = sorted((Path(__file__).parents[2] / "config").glob("*.yaml"))
SECTIONS = Section.__subclasses__()
KEYS = sorted(
    {field.alias or name for section in SECTIONS for name, field in section.model_fields.items()}
    | {later for section in SECTIONS for later in section.LATER}
    | {"Modality", "ImageType", "TransferSyntaxUID", "Rows", "0008,0060", "pacs", "<<", "~"}
)
WORDS = re.split(
    r"\s+",
    "1 pacs PACS1 10.1.2.3 104 0.0.0.0:104 [::]:80 30s 30s..15m 5GiB never forever anyone auto"
    " as-received RGB implicit-le j2k CTImageStorage 1.2.3 CT true yes ${HOME} ${ $${ off null"
    " https://pacs.example/x none today today-7d 18:00-06:00 mon-fri basic ${HOME}"
    " calling_ae:X address:10.0.0.0/8 quarantine if-needed ~ -5 0.5 \\ * %",
)

scalars = st.one_of(st.sampled_from(WORDS), st.text(max_size=20), st.none(), st.integers())
trees = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.one_of(st.sampled_from(KEYS), st.text(max_size=5)), inner, max_size=5),
    ),
    max_leaves=25,
)


def outcome(text: str) -> Config | None:
    """The configuration, read once more from its effective form; None where it is refused."""
    try:
        config = load_text(text, "FILE", {"HOME": "/root"})
    except ConfigError as error:
        places = [(problem.line, problem.column) for problem in error.problems]
    else:
        assert load_text(effective(config), "EFFECTIVE", {"HOME": "/root"}) == config
        return config
    assert places
    assert min(min(place) for place in places) > 0
    return None


@given(st.text(max_size=200))
@settings(deadline=None, max_examples=250)
def test_any_text_is_read_or_refused(text: str) -> None:
    outcome(text)


@given(st.text("[]{}:,-?&*!|>'\"%@` \n\tab1~<#\\", max_size=40))
@settings(deadline=None, max_examples=400)
def test_any_heap_of_yaml_signs_is_read_or_refused(text: str) -> None:
    outcome("version: 1\n" + text)
    outcome(text)


@given(trees)
@settings(deadline=None, max_examples=250)
def test_any_tree_of_known_words_is_read_or_refused(tree: Any) -> None:
    text = StringIO()
    names = ("routes", "gateway", "nodes", "serve", "fetch", "examples")
    sections = dict.fromkeys(names, tree)
    YAML(typ="safe", pure=True).dump({"version": 1, **sections}, text)
    outcome(text.getvalue())


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
@given(st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=150)
def test_any_damage_to_an_example_is_read_or_refused(path: Path, chance: random.Random) -> None:
    text = path.read_text(encoding="utf-8")
    for _ in range(chance.randint(1, 3)):
        at = chance.randrange(len(text))
        cut = chance.choice((0, 1, 1, 5, 40))
        added = chance.choice((*" \t\n:,-[]{}'\"#&*!|0a", "", chance.choice(WORDS)))
        text = text[:at] + added + text[at + cut :]
    outcome(text)


names = st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), max_size=12)
titles = st.text(st.characters(min_codepoint=32, max_codepoint=126, exclude_characters="\\"),
                 min_size=1, max_size=16)  # fmt: skip


@given(title=titles, value=names, number=st.integers(-5, 9999))
@settings(deadline=None, max_examples=250)
def test_any_ae_title_and_value_survive_printing(title: str, value: str, number: int) -> None:
    def quoted(text: str) -> str:
        return "'" + text.replace("'", "''").replace("${", "$${") + "'"

    text = (
        f"version: 1\ngateway: {{ ae_title: {quoted(title)} }}\n"
        "nodes: { n: { dimse: { ae_title: N, host: h } } }\nroutes:\n  - name: r\n"
        f"    send_to: n\n    match: {{ StudyDescription: {quoted(value)}, Rows: {number} }}\n"
    )
    config = outcome(text)
    if title.strip() and value.strip():
        assert config is not None
        assert config.gateway.ae_title == title.strip()
        assert config.routes[0].match["Rows"].has == (str(number),)
