"""No text brings anything but ConfigError, and what is accepted prints as what it is."""

import random
import re
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from gateway.config import Config, ConfigError, effective, load_text
from gateway.config.conditions import OPERATORS
from gateway.config.section import Section
from gateway.model import Arrival, Origin
from gateway.route.rules import compile_rules

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
    names = ("routes", "gateway", "nodes", "serve", "fetch", "query_retrieve", "examples")
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


TEXT, RANGE, NOTHING = ("has", "contains", "matches"), ("has", "min", "max"), ()
SUBJECTS = {
    "Modality": (TEXT, "CT ct* ${HOME}"),
    "ImageType": (TEXT, "LOCALIZER A\\\\B .* (a|b)+"),
    "Rows": (RANGE, "5 -0.50 1e3 0512"),
    "StudyDate": (RANGE, "20261122 today today-7d today+1w"),
    "StudyTime": (RANGE, "0830 083059 23"),
    "AcquisitionDateTime": (RANGE, "2026 20261122083000"),
    "PatientAge": (RANGE, "18Y 006M 2w"),
    "PatientName": (TEXT, "DOE^J =x #"),
    "PatientName.family": (TEXT, "DOE ${HOME}"),
    "StudyInstanceUID": (("has",), "1.2.3 1.20"),
    "SOPClassUID": (("has",), "CTImageStorage 1.2.3"),
    "TransferSyntaxUID": (("has",), "j2k 1.2.3"),
    "RequestAttributesSequence": (NOTHING, ""),
    "RequestAttributesSequence.ScheduledProcedureStepID": (TEXT, "5 a [z] 'x'"),
    "(0019,xx08,ACME 1.0)": (RANGE, "5 6.0"),
    "0019,10,X.Y": (TEXT, "true null ~"),
    "calling_ae": (("has", "contains"), "CT* ?"),
    "address": (("has",), "10.0.0.0/8 10.1.2.3 ::/0"),
    "size": (("min", "max"), "1MiB 512B"),
}
WILD = ["CT", "5", "20261122", "today", "18Y", "1.2.3", "j2k", "[z-a]", "(", "true", "${HOME}"]


def conditions(subject: str) -> st.SearchStrategy[Any]:
    """What a subject can be asked for, and now and then what it cannot."""
    operators, words = SUBJECTS[subject]
    fitting = st.sampled_from(words.split() or ["true"])
    one = st.one_of(fitting, st.lists(fitting, min_size=1, max_size=3))
    operands = {name: fitting if name in ("min", "max") else one for name in operators}
    few = [st.fixed_dictionaries({name: each}) for name, each in operands.items()]
    few.append(st.fixed_dictionaries({"missing": st.sampled_from(["true", "false"])}))
    wild = st.dictionaries(st.sampled_from([*OPERATORS, "contain"]), st.sampled_from(WILD))
    choices = [*few, *few, *([one] if "has" in operators else []), wild]
    return st.tuples(st.just(subject), st.one_of(choices))


matches = st.lists(st.sampled_from(sorted(SUBJECTS)).flatmap(conditions), max_size=3).map(dict)
hours = st.sampled_from([[], "18:00-06:00", ["mon-fri", "sat 08:00-12:00 UTC"], "8-9"])
EXPRESSIONS = (
    "",
    "Rows > 5",
    "Modality == 'CT' && size > 5",
    "ImageType.exists(v, v == 'X')",
    "true",
    "Rows >",
    "Modality",
    "StudyDescription.matches('(')",
)


@given(matches, matches, st.sampled_from(EXPRESSIONS), hours)
@settings(deadline=None, max_examples=300)
def test_any_route_of_the_grammar_is_read_or_refused_and_decides(
    match: Any, unless: Any, expr: str, during: Any
) -> None:
    asked = {"match": match, "unless": unless, "expr": expr, "during": during}
    route = {"name": "r", "send_to": "n", **{key: each for key, each in asked.items() if each}}
    whole = {"version": 1, "nodes": {"n": {"dimse": {"ae_title": "N", "host": "h"}}}}
    text = StringIO()
    YAML(typ="safe", pure=True).dump({**whole, "routes": [route]}, text)
    config = outcome(text.getvalue())
    if config is not None:
        rules = compile_rules(config)
        header = dict.fromkeys(
            ("Modality", "Rows", "StudyDate", "PatientName", "ImageType"), "5\\CT\\20261122"
        )
        origin = Origin(Arrival.C_STORE, "CT", "GATEWAY", "10.1.2.3")
        decision = rules.route(header, origin, size=5, now=datetime(2026, 11, 22, tzinfo=UTC))
        assert len(decision.owed) <= 1
