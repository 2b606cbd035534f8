"""Problems with values from the environment, told without what the environment holds.

A variable may hold a secret and stand where none belongs. So the file is judged a second time
with each value replaced by the ``${NAME}`` that was written: what is said both times does not
come from the value. All else is told in words that do not.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final

from gateway.config.problems import Complaint, Path
from gateway.config.secrets import Variable

_NAME: Final = re.compile(r"(?<!\$)\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


def as_written(data: Any, variables: Mapping[Path, Variable], path: Path = ()) -> Any:
    """The values of a file with those from the environment as ``${NAME}``."""
    match data:
        case dict():
            return {key: as_written(each, variables, (*path, key)) for key, each in data.items()}
        case list():
            return [as_written(each, variables, (*path, i)) for i, each in enumerate(data)]
        case _ if path in variables:
            written = variables[path].written
            return Variable(written, written) if isinstance(data, Variable) else written
        case _:
            return data


def hidden(
    complaints: Collection[Complaint],
    without: Collection[Complaint],
    variables: Mapping[Path, Variable],
) -> Iterator[Complaint]:
    """The complaints, ``without`` being those about the file ``as_written``."""
    same = set(without)
    for complaint in complaints:
        near = {path: each for path, each in variables.items() if _touch(path, complaint.path)}
        written = complaint.text
        for each in near.values():
            written = written.replace(each, each.written) if each else written
        if complaint in same or _harmless(complaint.text, (near or variables).values()):
            yield complaint
        elif complaint._replace(text=written) in same:
            yield complaint._replace(text=f"{written}, whose value is not shown")
        else:
            yield complaint._replace(text=_in_other_words(complaint, near, variables))


def _harmless(text: str, variables: Collection[Variable]) -> bool:
    """The variables hold nothing, or are told by their names already."""
    return all(not each.strip() or each.written in text for each in variables)


def _touch(path: Path, of: Path) -> bool:
    """The value stands at or below the place that is complained of."""
    return path[: len(of)] == of


def _in_other_words(
    complaint: Complaint, near: Mapping[Path, Variable], variables: Mapping[Path, Variable]
) -> str:
    """The setting and the variables, and what is allowed; ``near`` are those that stand there."""
    setting = ".".join(step for step in complaint.path if isinstance(step, str)) or "the file"
    if not near:
        return f"{setting}: this does not go with what is taken from {_names(variables)}"
    text = f"{setting}: what is taken from {_names(near)} cannot be used here"
    choices = complaint.text.partition("; allowed: ")[2].partition("; did you mean")[0]
    if not choices or any(each.strip() in choices for each in near.values()):
        return text
    return f"{text}; allowed: {choices}"


def _names(variables: Mapping[Path, Variable]) -> str:
    names = {name for each in variables.values() for name in _NAME.findall(each.written)}
    return ", ".join(f"${{{name}}}" for name in sorted(names))
