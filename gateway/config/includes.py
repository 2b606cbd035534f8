"""``include``: nodes, routes and rules, examples from further files, read as if in one.

An entry is a file, a pattern such as ``conf.d/*.yaml``, or a folder, whose ``*.yaml`` files are
read in the order of their names. Paths are relative to the file that holds the entry.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from gateway.config.hidden import as_written
from gateway.config.problems import ConfigError, Problem, allowed, shown
from gateway.config.yaml_tree import Tree, read_tree

INCLUDE: Final = "include"
_MERGED: Final = ("nodes", "routes", "fetch", "query_retrieve", "examples")
_MOST: Final = 1000


def read_text(path: Path) -> str:
    """A configuration file's text; raises ConfigError where it cannot be read."""
    try:
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        reason = error.strerror or str(error)
        raise ConfigError([Problem(str(path), 0, 0, f"cannot be read: {reason}")]) from error
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        column = error.start - error.object.rfind(b"\n", 0, error.start)
        what = f"byte 0x{error.object[error.start]:02X} is not UTF-8; save the file as UTF-8"
        raise ConfigError([Problem(str(path), line, column, what)]) from error


def merge_includes(tree: Tree, folder: Path, environment: Mapping[str, str]) -> None:
    """Put the entries of the files that ``include`` names into ``tree``, and take the key out."""
    if not isinstance(tree.data, dict) or INCLUDE not in tree.data:
        return
    entries = tree.data.pop(INCLUDE)
    listed = entries if isinstance(entries, list) else [entries]
    for index, entry in enumerate(listed):
        path = (INCLUDE, index) if isinstance(entries, list) else (INCLUDE,)
        if not isinstance(entry, str) or not entry.strip():
            tree.complain(path, f"include: expected a file or folder, found {shown(entry)}")
            continue
        try:
            called = tree.variables[path].written if path in tree.variables else ""
            for file in files_of(folder / entry.strip(), called):
                _merge(tree, read_tree(read_text(file), str(file), environment))
        except ConfigError as error:
            tree.problems.extend(error.problems)
        except ValueError as error:
            tree.complain(path, f"include: {error}")


def entries_of(text: str, name: str) -> tuple[str, ...]:
    """What a file includes, as far as it can be read."""
    try:
        data = read_tree(text, name, {}).data
    except ConfigError:
        return ()
    entries = data.get(INCLUDE, ()) if isinstance(data, dict) else ()
    listed = entries if isinstance(entries, list) else [entries]
    return tuple(each.strip() for each in listed if isinstance(each, str) and each.strip())


def files_of(named: Path, called: str = "") -> list[Path]:
    """The files that an entry means; raises ValueError where there is none.

    ``called`` is how the entry is written, where that is not the path.
    """
    called = called or str(named)
    if named.is_dir():
        found = sorted(named.glob("*.yaml"))
    elif "*" in named.name or "?" in named.name:
        found = sorted(named.parent.glob(named.name))
    elif named.is_file():
        found = [named]
    else:
        raise ValueError(f"{shown(called)} is no file and no folder")
    if len(found) > _MOST:
        raise ValueError(f"{shown(called)} holds more than {_MOST} files")
    return found


def _merge(tree: Tree, more: Tree) -> None:
    """The entries of one further file."""
    tree.problems.extend(more.problems)
    if not isinstance(more.data, dict):
        found = shown(as_written(more.data, more.variables))
        more.complain((), f"expected keys and values such as 'nodes:', found {found}")
        tree.problems.extend(more.problems[-1:])
        return
    for key, value in more.data.items():
        if key in _MERGED and isinstance(value, dict | list):
            tree.problems.extend(_joined(tree, more, key))
        elif key != "version":
            text = f"key '{key}' belongs in {tree.file}; included files hold"
            if key in _MERGED:
                text = f"{key}: expected {'keys and values' if key == 'nodes' else 'a list'}, in"
            more.complain((key,), text + allowed(_MERGED).removeprefix("; allowed:"), at_key=True)
            tree.problems.extend(more.problems[-1:])


def _joined(tree: Tree, more: Tree, key: str) -> Iterator[Problem]:
    """Entries of one section behind, or beside, those that are already there."""
    value = more.data[key]
    present = tree.data.get(key)
    if present is None:
        present = tree.data[key] = type(value)()
    if type(present) is not type(value):
        yield more.problem_at((key,), f"{key} is of another kind than in {tree.file}")
    elif isinstance(value, list):
        for index, entry in enumerate(value):
            tree.adopt(more, (key, index), (key, len(present)))
            present.append(entry)
    else:
        for name, entry in value.items():
            if name in present:
                file, line, _ = tree.place((key, name), at_key=True)
                text = f"the name {shown(name)} is taken; first in {file}, line {line}"
                yield more.problem_at((key, name), text, at_key=True)
            else:
                tree.adopt(more, (key, name), (key, name))
                present[name] = entry
