"""A configuration file to a Config, or to every problem in it at once.

Nothing but ConfigError leaves this module for any text.
"""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Final, get_args, get_origin

from pydantic import ValidationError

from gateway.config.checks import check
from gateway.config.hidden import as_written, hidden
from gateway.config.includes import merge_includes, read_text
from gateway.config.models import Config, Places
from gateway.config.problems import (
    Complaint,
    ConfigError,
    Problem,
    WrongValue,
    allowed,
    shown,
)
from gateway.config.problems import Path as ValuePath
from gateway.config.section import Section
from gateway.config.yaml_tree import Tree, read_tree

_AT_KEY: Final = "[key]"


def load(path: Path, environment: Mapping[str, str] | None = None) -> Config:
    """The configuration in a file; raises ConfigError with every problem.

    ``environment`` holds the variables for ``${NAME}``, the process's own where it is None.
    """
    return load_text(read_text(path), str(path), environment)


def load_text(
    text: str, name: str = "<text>", environment: Mapping[str, str] | None = None
) -> Config:
    """The configuration in a text; ``name`` stands for the file in the problems.

    What it includes is looked for where the file ``name`` is, or would be.
    """
    variables = os.environ if environment is None else environment
    tree = read_tree(text, name, variables)
    merge_includes(tree, Path(name).parent, variables)
    if not isinstance(tree.data, dict):
        found = shown(as_written(tree.data, tree.variables))
        what = f"expected keys and values such as 'version: 1', found {found}"
        raise ConfigError([tree.problem_at((), what)])
    config, complaints = _read(tree.data)
    if complaints and tree.variables:
        _, without = _read(as_written(tree.data, tree.variables))
        complaints = [*hidden(complaints, without, tree.variables)]
    problems = [*tree.problems, *_placed(tree, complaints)]
    if problems or config is None:
        raise ConfigError(problems)
    config.remember(Places(tree.place, tree.variables))
    return config


def _read(data: dict[str, Any]) -> tuple[Config | None, list[Complaint]]:
    """The values as a Config, where they can be one, and all that is wrong with them."""
    complaints = [*check(data)]
    try:
        return Config.model_validate(data), complaints
    except ValidationError as error:
        return None, [*complaints, *_complaints(error)]


def _placed(tree: Tree, complaints: list[Complaint]) -> Iterator[Problem]:
    """The complaints with their places; one is enough where the tree has found another."""
    taken = {(problem.file, problem.line, problem.column) for problem in tree.problems}
    for path, text, at_key in complaints:
        place = tree.place(path, at_key=at_key)
        if place not in taken:
            yield Problem(*place, text)


def _complaints(error: ValidationError) -> Iterator[Complaint]:
    for details in error.errors(include_url=False):
        if details["type"] == "default_factory_not_called":
            continue  # only where something else is wrong as well
        path = details["loc"]
        cause = details.get("ctx", {}).get("error")
        if isinstance(cause, WrongValue):
            for complaint in cause.complaints:
                where = (*path, *complaint.path)
                title = _dotted(where[:-1] if complaint.at_key else where)
                yield Complaint(where, f"{title}: {complaint.text}", complaint.at_key)
        else:
            yield _complaint(path, details["type"], details["input"], cause or details["msg"])


def _complaint(path: ValuePath, kind: str, found: object, reason: object) -> Complaint:
    """One of pydantic's errors in the words of this package."""
    if path[-1:] == (_AT_KEY,):
        return Complaint(path[:-1], f"{_title(path[:-2])}: {reason}", at_key=True)
    if kind == "missing":
        hint = "; begin the file with version: 1" if path == ("version",) else ""
        text = f"{_title(path[:-1])} lacks the key {path[-1]}{hint}"
        return Complaint(path, text, at_key=True)
    if kind == "extra_forbidden":
        return Complaint(path, _unknown_key(path), at_key=True)
    if kind in _EXPECTED:
        seen = "a text" if isinstance(found, str) and "auth" in path else shown(found)
        return Complaint(path, f"{_title(path)}: expected {_EXPECTED[kind]}, found {seen}")
    if found is None:
        return Complaint(path, f"{_title(path)} has no value; leave the key out or give it one")
    colon = "" if str(reason).startswith(_VERBS) else ":"
    return Complaint(path, f"{_title(path)}{colon} {reason}")


_VERBS: Final = ("lacks ", "has ")
_EXPECTED: Final = {
    "model_type": "keys and values",
    "model_attributes_type": "keys and values",
    "dict_type": "keys and values",
    "tuple_type": "a list (lines that begin with '- ')",
}


def _unknown_key(path: ValuePath) -> str:
    """What to say about a key that the section at ``path`` does not have."""
    *parent, key = path
    section = _section(tuple(parent))
    where = f" in {_title(tuple(parent))}" if parent else ""
    if key in section.LATER:
        return f"key '{key}'{where} is not supported in this version"
    return f"unknown key {shown(key)}{where}{allowed(_keys(section), key)}"


def _keys(section: type[Section]) -> list[str]:
    return [*section.keys(), *section.BESIDE]


def _section(path: ValuePath) -> type[Section]:
    """The model that reads the mapping at ``path``."""
    found: Any = Config
    for step in path:
        if isinstance(step, int) or get_origin(found) is dict:
            found = next(kind for kind in get_args(found)[::-1] if kind is not Ellipsis)
        else:
            found = found.model_fields[_field(found, step)].annotation
        if get_origin(found) is UnionType:
            found = next(kind for kind in get_args(found) if kind is not NoneType)
    section: type[Section] = found
    return section


def _field(section: type[Section], key: str) -> str:
    fields = section.model_fields.items()
    return next(name for name, field in fields if key == (field.alias or name))


def _dotted(path: ValuePath) -> str:
    """``routes.pixels.change``; the line tells which route."""
    return ".".join(step for step in path if isinstance(step, str))


def _title(path: ValuePath) -> str:
    """The value at ``path`` in words."""
    words = _dotted(path) or "the file"
    return f"this entry of {words}" if path and isinstance(path[-1], int) else words
