"""What is to be read of a data set: attributes by tag, those in sequences, private ones.

A plan maps tags to what is wanted there: the name under which the header shall hold the text, the
items of a sequence, or a private block by its creator (PS3.5 §7.5, §7.8.1).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Items:
    """A sequence: how many items it has, as ``name`` ("": not asked), and what is in them."""

    name: str = ""
    plan: "Mapping[int, Wanted]" = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Creators:
    """Private elements of a group: creator -> low byte of the element -> what is wanted."""

    blocks: "Mapping[str, Mapping[int, Wanted]]"


Wanted: TypeAlias = str | Items | Creators
Plan: TypeAlias = Mapping[int, Wanted]


Private: TypeAlias = tuple[int, int, str]
"""A private element: its group, low byte and creator."""
Step: TypeAlias = int | Private


def plan_of(wanted: Iterable[tuple[tuple[Step, ...], str, bool]]) -> dict[int, Wanted]:
    """The plan for (steps that lead there, name, whether it is a sequence to be counted)."""
    plan: dict[int, Wanted] = {}
    for steps, name, counted in wanted:
        _add(plan, steps, name, counted)
    return dict(sorted(plan.items()))


def _add(plan: dict[int, Wanted], steps: tuple[Step, ...], name: str, counted: bool) -> None:
    step, rest = steps[0], steps[1:]
    if isinstance(step, int):
        _put(plan, step, rest, name, counted)
        return
    group, element, creator = step
    first = group << 16
    known = plan.get(first | 0x10)
    blocks = dict(known.blocks) if isinstance(known, Creators) else {}
    elements = dict(blocks.get(creator, {}))
    _put(elements, element, rest, name, counted)
    blocks[creator] = elements
    creators = Creators(blocks)
    plan.update(dict.fromkeys([*range(first | 0x10, first | 0x100), first | 0xFFFF], creators))


def _put(
    plan: dict[int, Wanted], key: int, rest: tuple[Step, ...], name: str, counted: bool
) -> None:
    if not rest and not counted:
        plan[key] = name
        return
    known = plan.get(key)
    items = known if isinstance(known, Items) else Items()
    inner = dict(items.plan)
    if rest:
        _add(inner, rest, name, counted)
    plan[key] = Items(items.name if rest else name, inner)
