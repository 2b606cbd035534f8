"""What the pages show as a configuration is one."""

import re
from pathlib import Path

import pytest

from gateway.config import load_text
from gateway.rehearsal import rehearse
from gateway.route.rules import compile_rules

DOCS = Path(__file__).parents[2] / "docs"
WHOLE = [
    pytest.param(block, id=f"{page.name} {number}")
    for page in sorted(DOCS.glob("*.md"))
    for number, block in enumerate(re.findall(r"```yaml\n(.*?)```", page.read_text(), re.DOTALL))
    if "version: 1" in block
]


def test_some_page_shows_a_whole_configuration() -> None:
    assert WHOLE


@pytest.mark.parametrize("text", WHOLE)
def test_a_whole_configuration_loads_and_its_examples_hold(text: str) -> None:
    config = load_text(text, "page")
    assert rehearse(config, compile_rules(config)) == []
