"""YAML 1.2 text to plain values, with the line and column of each.

Scalars stay text as written, so that no guess about types can harm an AE title or a UID;
an empty one is None. ``${NAME}`` in a value is replaced by the environment variable; ``$${`` is a
plain ``${``. What YAML allows but a configuration should not have is a problem: keys given
twice, keys that are no text, tags, merge keys, control characters, endless nesting.
"""

import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, TypeAlias

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, StringMark
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.reader import ReaderError

from gateway.config.problems import ConfigError, Path, Problem, shown
from gateway.config.secrets import Variable

Place: TypeAlias = tuple[int, int]
"""Line and column, counted from 1."""

_DEPTH: Final = 20
_VALUES: Final = 200_000
_STANDARD: Final = "tag:yaml.org,2002:"
_NULL: Final = _STANDARD + "null"
_MERGE: Final = _STANDARD + "merge"
_VARIABLE: Final = re.compile(r"\$\$\{|\$\{([A-Za-z_][A-Za-z0-9_]*)\}|\$\{")
_NO_TEXT: Final = frozenset({"Cc", "Cs", "Zl", "Zp"})


class Marks(NamedTuple):
    """Where a value's key and the value itself begin."""

    key: Place
    value: Place


@dataclass(slots=True)
class Tree:
    """A file's values, where they stand, and what was wrong with them so far.

    ``variables`` are those that the environment has a part in.
    """

    file: str
    data: Any = None
    marks: dict[Path, Marks] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    files: dict[Path, str] = field(default_factory=dict)
    variables: dict[Path, Variable] = field(default_factory=dict)

    def problem(self, place: Place, text: str) -> None:
        """Notes a problem at a place."""
        self.problems.append(Problem(self.file, place[0], place[1], text))

    def problem_at(self, path: Path, text: str, *, at_key: bool = False) -> Problem:
        """A problem with the value at a path."""
        return Problem(*self.place(path, at_key=at_key), text)

    def complain(self, path: Path, text: str, *, at_key: bool = False) -> None:
        """Notes a problem with the value at a path."""
        self.problems.append(self.problem_at(path, text, at_key=at_key))

    def place(self, path: Path, *, at_key: bool) -> tuple[str, int, int]:
        """File, line and column of a value, or of the nearest one around it that there is."""
        for end in range(len(path), 0, -1):
            if path[:end] in self.marks:
                marks = self.marks[path[:end]]
                return self._file(path), *(marks.key if at_key or end < len(path) else marks.value)
        return self.file, 1, 1

    def _file(self, path: Path) -> str:
        return self.files.get(path[:2], self.file)

    def adopt(self, other: "Tree", path: Path, here: Path) -> None:
        """Take over where the values of ``other`` at and below ``path`` stand, as ``here``."""
        self.files[here] = other.file
        for place, marks in other.marks.items():
            if place[: len(path)] == path:
                self.marks[here + place[len(path) :]] = marks
        for place, value in other.variables.items():
            if place[: len(path)] == path:
                self.variables[here + place[len(path) :]] = value


def read_tree(text: str, file: str, environment: Mapping[str, str]) -> Tree:
    """The values of a YAML text; raises ConfigError where it is not YAML."""
    tree = Tree(file)
    root = _compose(text, file)
    if root is None:
        raise ConfigError([Problem(file, 1, 1, "the file is empty; the least is: version: 1")])
    builder = _Builder(tree, environment)
    try:
        tree.data = builder.value(root, ())
    except _TooMuch as error:
        raise ConfigError([Problem(file, *error.place, error.text)]) from None
    return tree


def _compose(text: str, file: str) -> Node | None:
    """The tree of YAML nodes. The parser's own errors get the words of this package."""
    try:
        root: Node | None = YAML(typ="rt", pure=True).compose(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        raise ConfigError([Problem(file, line, column, _syntax(error))]) from None
    except ReaderError as error:
        place = _place_of(text, error.position)
        what = f"character U+{ord(text[error.position]):04X} is not allowed in YAML"
        raise ConfigError([Problem(file, *place, what)]) from None
    except RecursionError:
        raise ConfigError([Problem(file, 1, 1, "values are nested too deeply")]) from None
    except Exception as error:
        what = f"this is not YAML: {error!r}"
        raise ConfigError([Problem(file, 1, 1, what)]) from error
    return root


def _place_of(text: str, position: int) -> Place:
    before = text[:position]
    return before.count("\n") + 1, position - before.rfind("\n")


_SYNTAX: Final = (
    ("'\\t' that cannot start", "a tab stands where YAML takes spaces only"),
    ("that cannot start any token", "a value that begins with this sign needs quotes"),
    ("mapping values are not allowed", "a second 'key:' on one line, or wrong indentation"),
    ("found undefined alias", "an alias (*name) without an anchor (&name); quote a text with *"),
    ("but found another document", "a second document (---) begins; allowed: one per file"),
    ("incompatible YAML document", "the %YAML version is not known; allowed: 1.2"),
    ("found unexpected end of stream", "a quote is opened here and not closed"),
    ("expected <block end>", "wrong indentation, or text after a closed quote or bracket"),
    ("but found '<stream end>'", "a '[' or '{' has no end"),
    ("expected ',' or ']'", "a '[' list is not closed, or a comma is missing"),
    ("expected ',' or '}'", "a '{' mapping is not closed, or a comma is missing"),
)


def _syntax(error: MarkedYAMLError) -> str:
    problem = str(error.problem or error.context or "unknown")
    words = next((text for part, text in _SYNTAX if part in problem), problem)
    opened = error.context_mark
    line = f" (opened on line {opened.line + 1})" if opened and "closed" in words else ""
    return f"YAML: {words}{line}"


class _TooMuch(Exception):
    """The file is beyond the limits of nesting or size."""

    def __init__(self, place: Place, text: str) -> None:
        super().__init__(text)
        self.place = place
        self.text = text


def _start(node: Node) -> Place:
    mark: StringMark = node.start_mark
    return mark.line + 1, mark.column + 1


def _written(node: Node) -> str:
    """A scalar's text; of a block without the break at its end and the parser's fold marks."""
    text = str(node.value)
    block = isinstance(node, ScalarNode) and node.style in ("|", ">")
    return text.replace("\a", "").rstrip("\n") if block else text


class _Builder:
    """Turns YAML nodes into values and notes their places."""

    def __init__(self, tree: Tree, environment: Mapping[str, str]) -> None:
        self._tree = tree
        self._environment = environment
        self._left = _VALUES

    def value(self, node: Node, path: Path, key: Place | None = None) -> Any:
        place = _start(node)
        self._left -= 1
        if len(path) > _DEPTH or self._left < 0:
            limit = f"more than {_DEPTH} levels deep" if self._left >= 0 else "too many values"
            raise _TooMuch(place, f"{limit}; aliases (*name) may not contain themselves")
        empty = isinstance(node, ScalarNode) and node.tag == _NULL
        self._tree.marks[path] = Marks(key or place, key or place if empty else place)
        if not str(node.tag).startswith(_STANDARD):
            self._tree.problem(place, f"tag {shown(str(node.tag))} is not allowed; remove it")
        match node:
            case MappingNode():
                return dict(self._entries(node, path))
            case SequenceNode():
                return [self.value(each, (*path, i)) for i, each in enumerate(node.value)]
            case _:
                return None if empty else self._text(_written(node), place, path)

    def _entries(self, node: MappingNode, path: Path) -> Iterator[tuple[str, Any]]:
        lines: dict[str, int] = {}
        for key_node, value_node in node.value:
            place = _start(key_node)
            key = self._key(key_node, place)
            if key in lines:
                text = f"key {shown(key)} stands here twice; first on line {lines[key]}"
                self._tree.problem(place, text)
            elif key is not None:
                lines[key] = place[0]
                yield key, self.value(value_node, (*path, key), place)

    def _key(self, node: Node, place: Place) -> str | None:
        if not isinstance(node, ScalarNode) or node.tag == _NULL:
            self._tree.problem(place, "a key must be text")
            return None
        if node.tag == _MERGE:
            self._tree.problem(place, "merge keys (<<) are not supported; write the keys out")
            return None
        return str(node.value)

    def _text(self, text: str, place: Place, path: Path) -> str:
        for sign in text:
            if unicodedata.category(sign) in _NO_TEXT:
                self._tree.problem(place, f"the text holds U+{ord(sign):04X}, a control character")
                break
        read = _VARIABLE.sub(lambda found: self._variable(found, place), text)
        names = [found[1] for found in _VARIABLE.finditer(text)]
        if not any(names):
            return read
        self._tree.variables[path] = Variable(read, text)
        alone = _VARIABLE.fullmatch(text)
        return self._tree.variables[path] if alone else read

    def _variable(self, found: re.Match[str], place: Place) -> str:
        name = found[1]
        if found[0] == "$${":
            return "${"
        if name is None:
            self._tree.problem(place, "'${' begins no variable; allowed: ${NAME}, or $${ for ${")
        elif name not in self._environment:
            self._tree.problem(place, f"environment variable {name} is not set")
        else:
            return self._environment[name]
        return found[0]
