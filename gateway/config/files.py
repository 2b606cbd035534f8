"""Secrets, keys and certificates in files that a configuration names: can they be read as yet?

What is missing may come later, mounted or renewed, so it keeps no configuration from use.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from gateway.config.models import Config
from gateway.config.problems import Path as ValuePath
from gateway.config.problems import Problem
from gateway.config.section import Section

_IN_PEM: Final = frozenset({"ca", "client_ca", "certificate"})
_BEGIN: Final = b"-----BEGIN "


def unreadable(config: Config) -> list[Problem]:
    """A remark for each file that cannot be read now, in the order of the configuration; blocks.

    Its text names the setting, and with it the node.
    """
    found = []
    for path, file in _files((), config):
        if reason := _reason(file, pem=path[-1] in _IN_PEM):
            setting = ".".join(each for each in path if isinstance(each, str))
            named = config.written(path, file)
            found.append(config.problem(path, f"{setting}: {named} cannot be used now: {reason}"))
    return sorted(found)


def _files(path: ValuePath, value: object) -> Iterator[tuple[ValuePath, Path]]:
    """Every file that is named anywhere, with the place of its name."""
    match value:
        case Path():
            if path != ("gateway", "spool", "path"):
                yield path, value
        case Section():
            for key, name in value.keys().items():
                yield from _files((*path, key), getattr(value, name))
        case Mapping():
            for key, each in value.items():
                yield from _files((*path, key), each)
        case tuple():
            for index, each in enumerate(value):
                yield from _files((*path, index), each)
        case _:
            pass


def _reason(file: Path, *, pem: bool) -> str:
    try:
        text = file.read_bytes()
    except OSError as error:
        return error.strerror or "the system refuses it"
    return "it is not in PEM form" if pem and _BEGIN not in text else ""
