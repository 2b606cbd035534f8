"""The configuration as it is in force: every default written out, as YAML that reads the same."""

import io
import re
from typing import Any, Final

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedSeq
from ruamel.yaml.scalarstring import SingleQuotedScalarString

from gateway.config.models import Config
from gateway.config.secrets import Written

_WHOLE: Final = re.compile(r"0|-?[1-9][0-9]{0,17}")
_NOTHING: Final = frozenset(
    {"from", "match", "unless", "during", "set", "remove", "copy", "template", "hash", "replace"}
)
"""What means nothing by itself where it is empty: it is left out, as it was by the file."""
_BOOLEANS_OF_YAML_1_1: Final = frozenset({"yes", "no", "on"})
_PLAIN: Final = re.compile(r"[A-Za-z0-9_./][A-Za-z0-9_./:+%-]*(?<!:)")


def effective(config: Config) -> str:
    """YAML text with all defaults; ``load_text`` reads it as an equal Config."""
    yaml = YAML(typ="rt", pure=True)
    yaml.width = 1_000_000
    yaml.indent(mapping=2, sequence=4, offset=2)
    text = io.StringIO()
    yaml.dump(_plain(config.model_dump(by_alias=True)), text)
    return text.getvalue()


def _plain(value: Any) -> Any:
    """Without what is not set; lists of plain values on one line; ``${`` kept from its meaning."""
    match value:
        case dict():
            kept = {key: each for key, each in value.items() if not _unset(key, each)}
            return {key: _plain(each) for key, each in kept.items()}
        case list() | tuple():
            sequence = CommentedSeq(_plain(each) for each in value)
            if not any(isinstance(each, dict) for each in value):
                sequence.fa.set_flow_style()
            return sequence
        case Written():
            return SingleQuotedScalarString(value)
        case str() if _WHOLE.fullmatch(value):
            return int(value)
        case str() if _PLAIN.fullmatch(value) and value.lower() not in _BOOLEANS_OF_YAML_1_1:
            return str(value)
        case str():
            return SingleQuotedScalarString(value.replace("${", "$${"))
        case _:
            return value


def _unset(key: str, value: Any) -> bool:
    return value is None or (key in _NOTHING and value in ([], {}, ()))
